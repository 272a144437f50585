//! What a journal holds after a crash of the machine.

use std::fs;

use chrono::DateTime;

use super::*;
use crate::server::log::{Field, Topic, Update};

fn entry(cursor: u64, bytes: usize) -> Arc<Entry> {
    let update = Update {
        topics: vec![Topic::parse("t").expect("a topic")],
        data: "x".repeat(bytes),
        id: Some(Field::parse(&format!("id-{cursor}")).expect("an id")),
        event: None,
        retry: None,
        private: false,
        ttl: None,
    };
    Arc::new(Entry::new(Cursor(cursor), DateTime::UNIX_EPOCH, update))
}

fn write(journal: &mut Journal, entry: &Arc<Entry>, archived: Cursor) {
    write_with(journal, entry, archived, true, Cursor::START);
}

fn write_with(journal: &mut Journal, entry: &Arc<Entry>, archived: Cursor, flush: bool, reserved: Cursor) {
    journal.encode(std::slice::from_ref(entry));
    assert!(journal.has_room(archived));
    let (previous, last) = (entry.cursor.previous(), entry.cursor);
    assert!(journal.write(RecordInfo { previous, last, reserved, flush }).is_ok());
}

/// Opens a journal as somebody does who doesn't know how it was written.
fn open(folder: &Path, archived: Cursor) -> Result<(Journal, Recovered), OpenError> {
    Journal::open(folder, Durability::Fsync, archived)
}

fn cursors(recovered: &Recovered) -> Vec<u64> {
    recovered.entries.iter().map(|entry| entry.cursor.0).collect()
}

#[test]
fn a_power_cut_in_the_first_record_of_a_file_begun_again_costs_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal-0");
    let (mut journal, _) = open(folder.path(), Cursor::START).expect("a journal");
    for cursor in 1..=8 {
        write(&mut journal, &entry(cursor, 2000), Cursor::START);
    }
    let before = fs::read(&path).expect("the file");
    write(&mut journal, &entry(9, 6000), Cursor(8));
    drop(journal);
    let mut torn = fs::read(&path).expect("the file");
    torn[..4096].copy_from_slice(&before[..4096]);
    fs::write(&path, torn).expect("a torn file");
    let (_, recovered) = open(folder.path(), Cursor(8)).expect("it opens");
    assert!(recovered.entries.is_empty(), "{:?}", cursors(&recovered));
}

#[test]
fn with_durability_os_a_crash_of_the_machine_costs_the_newest_updates_and_no_more() {
    let half = SEGMENT_BYTES as usize / 2;
    let folder = tempfile::tempdir().expect("a folder");
    let (mut journal, _) = open(folder.path(), Cursor::START).expect("a journal");
    for cursor in 1..=3 {
        write_with(&mut journal, &entry(cursor, half - 1000), Cursor::START, false, Cursor::START);
    }
    drop(journal);
    let path = folder.path().join("journal-0");
    let kept = fs::metadata(&path).expect("the file").len() / 2 + 100;
    OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(kept)).expect("a shorter file");
    for _ in 0..2 {
        let (_, recovered) = open(folder.path(), Cursor::START).expect("it opens");
        assert_eq!(cursors(&recovered), [1]);
    }
}

#[test]
fn whatever_was_flushed_is_missed_wherever_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut journal, _) = open(folder.path(), Cursor::START).expect("a journal");
    for cursor in 1..=8 {
        write(&mut journal, &entry(cursor, 2_000_000), Cursor::START);
    }
    drop(journal);
    let whole = FILES.map(|name| fs::read(folder.path().join(name)).expect("a file"));
    assert!(whole.iter().all(|file| !file.is_empty()));
    for (name, file) in FILES.iter().zip(&whole) {
        for at in [10, 100, file.len() / 2] {
            for (name, file) in FILES.iter().zip(&whole) {
                fs::write(folder.path().join(name), file).expect("room");
            }
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            fs::write(folder.path().join(name), damaged).expect("room");
            let last = cursors(&open(folder.path(), Cursor::START).map_or_else(
                |error| {
                    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
                    Recovered { entries: Vec::new(), reserved: Cursor::START, ends: [0; 2] }
                },
                |(_, recovered)| recovered,
            ));
            assert!(last.is_empty(), "{name} at {at}: {last:?}");
        }
    }
}

#[test]
fn what_was_not_flushed_may_be_torn_and_its_cursors_are_not_given_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal-0");
    let (mut journal, _) = open(folder.path(), Cursor::START).expect("a journal");
    write_with(&mut journal, &entry(1, 100), Cursor::START, true, Cursor(1000));
    let flushed = fs::metadata(&path).expect("the file").len() as usize;
    for cursor in 2..=4 {
        write_with(&mut journal, &entry(cursor, 100), Cursor::START, false, Cursor(1000));
    }
    drop(journal);
    let mut torn = fs::read(&path).expect("the file");
    torn[flushed + 50] ^= 1;
    fs::write(&path, torn).expect("a torn file");
    for _ in 0..2 {
        let (_, recovered) = open(folder.path(), Cursor::START).expect("it opens");
        assert_eq!((cursors(&recovered), recovered.reserved), (vec![1], Cursor(1000)));
    }
}

#[test]
fn a_record_of_a_large_batch_is_not_kept_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut journal, _) = open(folder.path(), Cursor::START).expect("a journal");
    journal.encode(&[entry(1, 8 * BUFFER_BYTES)]);
    journal.encode(&[entry(2, 1)]);
    assert!(journal.record.capacity() <= BUFFER_BYTES, "{}", journal.record.capacity());
}
