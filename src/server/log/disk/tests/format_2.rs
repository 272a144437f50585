//! A folder of format 2, as its program wrote it, is taken over with all that is in it: there the hub's own events were in
//! the index of topics.

use redb::TableDefinition;

use super::*;
use crate::server::log::Lane;
use crate::server::log::id_cipher::KEY_BYTES;

const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];
/// The last one was only ever the hub's own.
const TOPICS: [&str; 3] = ["a", "b", "said"];
const AT: i64 = 1_700_000_000_000;

/// One entry, as format 2 has it. Everything was evicted up to 2.
struct Old {
    cursor: u64,
    lane: Lane,
    topics: &'static [u64],
}

const ALL: [Old; 5] = [
    Old { cursor: 3, lane: Lane::Main, topics: &[0] },
    Old { cursor: 4, lane: Lane::System, topics: &[2] },
    Old { cursor: 5, lane: Lane::System, topics: &[0, 2] },
    Old { cursor: 6, lane: Lane::Main, topics: &[0, 1] },
    Old { cursor: 7, lane: Lane::System, topics: &[2] },
];

impl Old {
    /// As it is to be read.
    fn entry(&self) -> Entry {
        let time = |at| DateTime::from_timestamp_millis(at).expect("a time");
        let id = IdCipher::new(&KEY).encrypt(Cursor(self.cursor));
        Entry {
            cursor: Cursor(self.cursor),
            lane: self.lane,
            frame: format!("id: {id}\ndata: {}\n\n", self.cursor).into(),
            id: id.into(),
            topics: self.topics.iter().map(|&n| Topic::parse(TOPICS[n as usize]).expect("a topic")).collect(),
            private: self.lane == Lane::System,
            at: time(self.at()),
            expires_at: (self.lane == Lane::System).then(|| time(32_500_000_000_000)),
        }
    }

    /// One of the hub's own stands behind a later time.
    fn at(&self) -> i64 {
        if self.cursor == 5 { AT } else { AT + self.cursor.cast_signed() }
    }

    fn is_system(&self) -> bool {
        self.lane == Lane::System
    }

    fn archived(&self) -> Vec<u8> {
        let entry = self.entry();
        let flags = u8::from(entry.private) | u8::from(entry.expires_at.is_some()) << 1;
        let mut head = vec![u8::from(self.is_system()), flags];
        head.extend(self.at().to_le_bytes());
        head.extend(entry.expires_at.iter().flat_map(|at| at.timestamp_millis().to_le_bytes()));
        head.extend((entry.size() as u64).to_le_bytes());
        head.extend((self.topics.len() as u32).to_le_bytes());
        head.extend(self.topics.iter().flat_map(|number| number.to_le_bytes()));
        let length = (head.len() as u32).to_le_bytes();
        [&[0x80], &length[..], &*head, &*entry.frame].concat()
    }
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn size_of(which: impl Fn(&&Old) -> bool) -> [u64; 2] {
    let sizes: Vec<_> = ALL.iter().filter(which).map(|old| old.entry().size() as u64).collect();
    [sizes.len() as u64, sizes.iter().sum()]
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
        let mut expiries = txn.open_table(TableDefinition::<(i64, u64), ()>::new("expiries")).expect("a table");
        let mut lanes = txn.open_table(TableDefinition::<(u8, u64), ()>::new("lanes")).expect("a table");
        let mut late = txn.open_table(TableDefinition::<(u64, i64, u64), ()>::new("late")).expect("a table");
        txn.open_table(TableDefinition::<(u64, u64), ()>::new("ids")).expect("a table");
        for old in &ALL {
            entries.insert(old.cursor, &*old.archived()).expect("a row");
            for &number in old.topics {
                postings.insert((number, old.cursor), ()).expect("a row");
                if old.cursor == 5 {
                    late.insert((number, old.at(), old.cursor), ()).expect("a row");
                }
            }
            if old.is_system() {
                lanes.insert((1, old.cursor), ()).expect("a row");
                expiries.insert((32_500_000_000_000, old.cursor), ()).expect("a row");
            }
        }
        late.insert((u64::MAX, AT, 5), ()).expect("a row");
        for (number, name) in (0..).zip(TOPICS) {
            names.insert(name, number).expect("a row");
            let [count, bytes] = size_of(|old| old.topics.contains(&number));
            let [system, _] = size_of(|old| old.topics.contains(&number) && old.is_system());
            let evicted = [1, 0, 2][number as usize];
            let head = numbers(&[count, system, bytes, evicted, (AT + 7).cast_unsigned()]);
            topics.insert(number, &*[&40_u32.to_le_bytes()[..], &*head, name.as_bytes()].concat()).expect("a row");
        }
        meta.insert("format", 2_u32.to_le_bytes().as_slice()).expect("a row");
        meta.insert("key", KEY.as_slice()).expect("a row");
        let lanes = [size_of(|old| !old.is_system()), size_of(|old| old.is_system()), [0, 0]].concat();
        let totals = [&[7, 2, 0, 7, 3][..], &*lanes, &[(AT + 7).cast_unsigned()]].concat();
        meta.insert("totals", &*numbers(&totals)).expect("a row");
    }
    txn.commit().expect("a commit");
}

#[tokio::test]
async fn a_log_of_format_2_is_taken_over_with_what_the_hub_has_said() {
    let folder = folder();
    write_archive(folder.path());
    let expected: Vec<_> = ALL.iter().map(|old| Arc::new(old.entry())).collect();
    for round in 0..2 {
        let log = open(folder.path());
        assert_eq!(read_all(&log).await, expected, "round {round}");
        let topics: Vec<_> = log.topics(None, 10).await.expect("topics");
        let topics: Vec<_> = topics.iter().map(|info| (info.topic.as_str(), info.updates, info.newest.0)).collect();
        assert_eq!(topics, [("a", 2, 6), ("b", 1, 6)]);
        assert_eq!(log.find(&expected[2].id).await.expect("an answer"), Some(expected[2].clone()));
        let size = PageSize { entries: 1, bytes: 0 };
        for (cursor, gap) in [(1, true), (2, false)] {
            let page = log.reader(Cursor(cursor), Arc::new(Everything)).next(size).await.expect("a page");
            assert_eq!(page.gap, gap, "after {cursor}");
        }
    }
    let clock =
        TimeSource::new(|| DateTime::from_timestamp_millis(32_500_000_000_001).expect("a time"), || Duration::ZERO);
    let log = DiskLog::open(folder.path(), Durability::Fsync, Retention::unlimited(), clock).expect("a log").0;
    log.sweep().await;
    let kept: Vec<_> = read_all(&log).await.iter().map(|entry| entry.cursor.0).collect();
    assert_eq!(kept, [3, 6], "what the hub had said has had its time");
    drop(log);
    let stat = maintenance::stat(folder.path()).expect("a count");
    assert_eq!([stat.updates, stat.bytes], size_of(|old| !old.is_system()), "nothing of it is counted any more");
}
