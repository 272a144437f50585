//! A folder of format 1, as its program wrote it, is taken over with all that is in it.

use redb::TableDefinition;

use super::*;
use crate::server::log::id_cipher::KEY_BYTES;

const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];
const GENERATION: u64 = 42;

/// One update, as format 1 has it.
struct Old {
    cursor: u64,
    id: String,
    topics: &'static [u64],
    at: i64,
    private: bool,
    expires_at: Option<i64>,
}

const TOPICS: [&str; 2] = ["a", "b"];

fn old(cursor: u64, topics: &'static [u64]) -> Old {
    let id = IdCipher::new(&KEY).encrypt(Cursor(cursor));
    Old { cursor, id, topics, at: 1_700_000_000_000 + cursor.cast_signed(), private: false, expires_at: None }
}

fn all() -> Vec<Old> {
    vec![
        // Evicted: 1 to 3.
        Old { private: true, ..old(4, &[0]) },
        old(5, &[0, 1]),
        Old { id: "given".into(), at: 1_600_000_000_000, ..old(6, &[1]) },
        Old { expires_at: Some(32_500_000_000_000), ..old(7, &[1]) },
        // These are still in the journal.
        old(8, &[0]),
        Old { id: "given".into(), ..old(9, &[0, 1]) },
    ]
}

const ARCHIVED: usize = 4;

impl Old {
    fn frame(&self) -> String {
        format!("id: {}\ndata: {}\n\n", self.id, self.cursor)
    }

    fn head(&self) -> Vec<u8> {
        let mut out = vec![u8::from(self.private) | u8::from(self.expires_at.is_some()) << 1];
        out.extend(self.at.to_le_bytes());
        out.extend(self.expires_at.iter().flat_map(|at| at.to_le_bytes()));
        out.extend((self.topics.len() as u32).to_le_bytes());
        out
    }

    fn archived(&self) -> Vec<u8> {
        let mut out = self.head();
        out.extend(self.topics.iter().flat_map(|number| number.to_le_bytes()));
        out.extend(self.frame().bytes());
        out
    }

    fn journalled(&self) -> Vec<u8> {
        let sized = |text: &str| [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
        let mut out = self.cursor.to_le_bytes().to_vec();
        out.extend(self.head());
        out.extend(self.topics.iter().flat_map(|&number| sized(TOPICS[number as usize])));
        out.extend(sized(&self.frame()));
        out
    }

    /// As it is to be read.
    fn entry(&self) -> Entry {
        let time = |at| DateTime::from_timestamp_millis(at).expect("a time");
        Entry {
            cursor: Cursor(self.cursor),
            lane: Default::default(),
            id: (&*self.id).into(),
            topics: self.topics.iter().map(|&n| Topic::parse(TOPICS[n as usize]).expect("a topic")).collect(),
            private: self.private,
            at: time(self.at),
            expires_at: self.expires_at.map(time),
            frame: self.frame().into(),
        }
    }
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn write_archive(folder: &Path) {
    let database = Database::create(folder.join("log.redb")).expect("a database");
    let txn = database.begin_write().expect("a transaction");
    {
        let mut meta = txn.open_table(TableDefinition::<&str, &[u8]>::new("meta")).expect("a table");
        let mut entries = txn.open_table(TableDefinition::<u64, &[u8]>::new("entries")).expect("a table");
        let mut postings = txn.open_table(TableDefinition::<(u64, u64), ()>::new("postings")).expect("a table");
        let mut names = txn.open_table(TableDefinition::<&str, u64>::new("names")).expect("a table");
        let mut topics = txn.open_table(TableDefinition::<u64, &[u8]>::new("topics")).expect("a table");
        let mut ids = txn.open_table(TableDefinition::<(u64, u64), ()>::new("ids")).expect("a table");
        let mut expiries = txn.open_table(TableDefinition::<(i64, u64), ()>::new("expiries")).expect("a table");
        let (mut counts, mut bytes) = ([0; 2], [0; 2]);
        let mut sum = 0;
        for old in &all()[..ARCHIVED] {
            let row = old.archived();
            entries.insert(old.cursor, &*row).expect("a row");
            sum += row.len() as u64;
            for &number in old.topics {
                postings.insert((number, old.cursor), ()).expect("a row");
                counts[number as usize] += 1;
                bytes[number as usize] += row.len() as u64;
            }
            if old.id == "given" {
                ids.insert((IdCipher::new(&KEY).digest("given"), old.cursor), ()).expect("a row");
            }
            if let Some(at) = old.expires_at {
                expiries.insert((at, old.cursor), ()).expect("a row");
            }
        }
        for (number, name) in (0..).zip(TOPICS) {
            names.insert(name, number).expect("a row");
            let evicted = [3, 2][number as usize];
            let mut row = numbers(&[counts[number as usize], bytes[number as usize], evicted]);
            row.extend(name.bytes());
            topics.insert(number, &*row).expect("a row");
        }
        meta.insert("format", 1_u32.to_le_bytes().as_slice()).expect("a row");
        meta.insert("key", KEY.as_slice()).expect("a row");
        meta.insert("totals", &*numbers(&[7, ARCHIVED as u64, sum, 3, 0, 2])).expect("a row");
    }
    txn.commit().expect("a commit");
}

fn write_journal(folder: &Path) {
    let mut file = Vec::new();
    for old in &all()[ARCHIVED..] {
        let payload = old.journalled();
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&GENERATION.to_le_bytes());
        checksum.update(&payload);
        file.extend(b"tdj\x01");
        file.extend((payload.len() as u32).to_le_bytes());
        file.extend(GENERATION.to_le_bytes());
        file.extend(checksum.finalize().to_le_bytes());
        file.extend(payload);
    }
    fs::write(folder.join("journal-0"), file).expect("room");
    fs::write(folder.join("journal-1"), "").expect("room");
}

#[tokio::test]
async fn a_log_of_format_1_is_taken_over_with_its_journal_ids_times_and_gaps() {
    let folder = folder();
    write_archive(folder.path());
    write_journal(folder.path());
    let expected: Vec<_> = all().iter().map(|old| Arc::new(old.entry())).collect();
    for round in 0..2 {
        let log = open(folder.path());
        assert_eq!(read_all(&log).await, expected, "round {round}");
        assert_eq!(log.bounds(), Bounds { oldest: Cursor(4), newest: Cursor(9) });
        assert_eq!(log.find("given").await.expect("an answer"), Some(expected[2].clone()));
        assert_eq!(log.find(&expected[1].id).await.expect("an answer"), Some(expected[1].clone()));
        let evicted = IdCipher::new(&KEY).encrypt(Cursor(2));
        assert_eq!(log.locate(&evicted).await.expect("an answer"), Some(Cursor(2)));
        let size = PageSize { entries: 1, bytes: 0 };
        for (cursor, gap) in [(2, true), (3, false)] {
            let page = log.reader(Cursor(cursor), Arc::new(Everything)).next(size).await.expect("a page");
            assert_eq!(page.gap, gap, "after {cursor}");
        }
        log.sweep().await;
    }
    let stat = maintenance::stat(folder.path()).expect("a count");
    assert_eq!((stat.updates, stat.topics.len()), (6, 2));
}

#[tokio::test]
async fn what_is_too_old_goes_from_a_log_of_format_1_too() {
    let folder = folder();
    write_archive(folder.path());
    let now = || DateTime::from_timestamp_millis(1_700_000_000_000).expect("a time");
    let limits = Limits { age: Some(Duration::from_secs(3600)), ..Limits::default() };
    let clock = TimeSource::new(now, || Duration::ZERO);
    let (log, _) = DiskLog::open(folder.path(), Durability::Fsync, Retention::of(limits), clock).expect("a log");
    log.sweep().await;
    let kept: Vec<_> = read_all(&log).await.iter().map(|entry| entry.cursor.0).collect();
    assert_eq!(kept, [4, 5, 7], "6 was older than what stands before it");
    drop(log);
    let log = DiskLog::open(folder.path(), Durability::Fsync, Retention::of(of_none()), TimeSource::system())
        .expect("a log")
        .0;
    log.sweep().await;
    assert!(read_all(&log).await.is_empty());
    drop(log);
    assert_eq!(maintenance::stat(folder.path()).expect("a count").bytes, 0, "what was counted is no longer");
}

fn of_none() -> Limits {
    Limits { age: Some(Duration::from_secs(1)), ..Limits::default() }
}
