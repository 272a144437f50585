//! How much comes at once.

use std::time::Duration;

use tidings::server::log::{Cursor, Notes, PageSize, TopicFilter};

use super::rig::{ALL, Beginning, Rig, exactly, of, update};

/// Publishes an update for each of these sizes of its data, on a topic, each beside one that nobody wants.
async fn publish_sizes(rig: &Rig, topic: &str, sizes: impl IntoIterator<Item = usize>) -> Vec<(u64, usize)> {
    let mut published = Vec::new();
    for size in sizes {
        rig.publish(update("other", "x")).await;
        let entry = rig.publish(update(topic, &"x".repeat(size))).await;
        published.push((entry.cursor.0, entry.frame.len()));
    }
    published
}

/// The cursors and sizes of the entries of each page, until there is nothing more.
async fn pages(rig: &Rig, filter: &dyn TopicFilter, size: PageSize) -> Vec<Vec<(u64, usize)>> {
    let (mut at, mut pages, mut notes) = (Cursor::START, Vec::new(), Notes::default());
    loop {
        let page = rig.read_on(at, filter, size, &mut notes).await;
        assert!(page.next > at || !page.more, "it comes to an end");
        assert!(page.entries.iter().all(|entry| entry.cursor > at && entry.cursor <= page.next));
        at = page.next;
        pages.push(page.entries.iter().map(|entry| (entry.cursor.0, entry.frame.len())).collect());
        if !page.more {
            return pages;
        }
    }
}

/// As many as fit, at least one, page by page.
fn filled(entries: &[(u64, usize)], size: PageSize) -> Vec<Vec<(u64, usize)>> {
    let mut pages: Vec<Vec<(u64, usize)>> = Vec::new();
    for &entry in entries {
        match pages.last_mut() {
            Some(page)
                if page.len() < size.entries
                    && page.iter().map(|(_, bytes)| bytes).sum::<usize>() + entry.1 <= size.bytes =>
            {
                page.push(entry);
            }
            _ => pages.push(vec![entry]),
        }
    }
    pages
}

pub(crate) async fn a_page_has_as_many_entries_as_its_bytes_hold(rig: Rig) {
    let sizes = [vec![10; 500], vec![10_000; 5], vec![100; 100], vec![1]].concat();
    let published = publish_sizes(&rig, "a", sizes).await;
    for archived in [false, true] {
        for size in [(512, 16_000), (1000, 25_000), (10, 64 * 1024), (1, 0), (7, 1)] {
            let size = PageSize { entries: size.0, bytes: size.1 };
            let expected = filled(&published, size);
            for filter in [&exactly(&["a", "unknown"]) as &dyn TopicFilter, &Beginning("a")] {
                let mut read = pages(&rig, filter, size).await;
                read.retain(|page| !page.is_empty());
                assert_eq!(read, expected, "{size:?}, archived: {archived}");
            }
        }
        rig.log.sweep().await;
    }
}

pub(crate) async fn an_entry_larger_than_a_page_comes_alone(rig: Rig) {
    let published = publish_sizes(&rig, "a", [10, 300_000, 300_000, 10]).await;
    let size = PageSize { entries: 512, bytes: 64 * 1024 };
    for _ in 0..2 {
        for filter in [&exactly(&["a"]) as &dyn TopicFilter, &Beginning("a")] {
            let mut read = pages(&rig, filter, size).await;
            read.retain(|page| !page.is_empty());
            assert_eq!(read, published.iter().map(|entry| vec![*entry]).collect::<Vec<_>>());
        }
        rig.log.sweep().await;
    }
}

pub(crate) async fn a_page_that_ends_early_tells_of_a_gap_all_the_same(rig: Rig) {
    let sizes = [vec![1000; 100], vec![10; 5]].concat();
    let published = publish_sizes(&rig, "a", sizes).await;
    rig.log.sweep().await;
    let kept = &published[published.len() - 15..];
    for filter in [&exactly(&["a"]) as &dyn TopicFilter, &Beginning("a")] {
        for bytes in [0, 3000, usize::MAX] {
            let size = PageSize { entries: 512, bytes };
            let mut notes = Notes::default();
            let first = rig.read_on(Cursor(1), filter, size, &mut notes).await;
            assert!(first.gap, "{bytes}");
            assert_eq!(first.entries[0].cursor.0, kept[0].0);
            let second = rig.read_on(first.next, filter, size, &mut notes).await;
            assert!(!second.gap, "{bytes}");
        }
    }
}

/// Reads a page of one entry after the other, as a reader that comes back whenever it likes.
struct Slow<'a> {
    rig: &'a Rig,
    filter: &'a dyn TopicFilter,
    at: Cursor,
    notes: Notes,
}

impl<'a> Slow<'a> {
    fn new(rig: &'a Rig, filter: &'a dyn TopicFilter) -> Self {
        Self { rig, filter, at: Cursor::START, notes: Notes::default() }
    }

    /// The cursor of the next entry, and whether the page it is on tells of a gap.
    async fn next(&mut self) -> (Option<u64>, bool) {
        let page = self.rig.read_on(self.at, self.filter, of(1), &mut self.notes).await;
        self.at = page.next;
        (page.entries.first().map(|entry| entry.cursor.0), page.gap)
    }
}

pub(crate) async fn a_loss_is_told_once_to_a_reader_that_reads_on(rig: Rig) {
    rig.publish_many("news", 5).await;
    rig.publish_many("jobs/1", 10).await;
    rig.log.sweep().await;
    let (exact, none) = (exactly(&["news", "jobs/1"]), Beginning("news"));
    let mut readers = [&exact as &dyn TopicFilter, &ALL].map(|filter| Slow::new(&rig, filter));
    let mut content = Slow::new(&rig, &none);
    for reader in &mut readers {
        // 6 to 12 are gone, which lies ahead of the first pages.
        assert_eq!([reader.next().await, reader.next().await], [(Some(1), true), (Some(2), false)]);
    }
    assert_eq!(content.next().await, (Some(1), false));
    rig.publish_many("jobs/1", 1).await;
    rig.log.sweep().await;
    for reader in &mut readers {
        // 13 has gone too.
        assert_eq!([reader.next().await, reader.next().await], [(Some(3), true), (Some(4), false)]);
        assert_eq!([reader.next().await, reader.next().await], [(Some(5), false), (Some(14), false)]);
    }
    assert_eq!(content.next().await, (Some(2), false));
    rig.publish_many("jobs/1", 2).await;
    rig.log.sweep().await;
    for reader in &mut readers {
        // And 14, which has been read, and 15.
        assert_eq!([reader.next().await, reader.next().await], [(Some(16), true), (Some(17), false)]);
    }
}

pub(crate) async fn a_reader_that_reads_on_is_told_when_a_topic_loses_all_it_had(rig: Rig) {
    rig.publish_many("news", 3).await;
    rig.publish_many("jobs/1", 2).await;
    rig.publish_many("news", 1).await;
    rig.log.sweep().await;
    let exact = exactly(&["news", "jobs/1"]);
    for filter in [&exact as &dyn TopicFilter, &ALL] {
        assert_eq!(Slow::new(&rig, filter).next().await, (Some(1), false));
    }
    let mut readers = [&exact as &dyn TopicFilter, &ALL].map(|filter| Slow::new(&rig, filter));
    for reader in &mut readers {
        assert_eq!(reader.next().await, (Some(1), false));
    }
    rig.wait(Duration::from_secs(100));
    rig.log.sweep().await;
    for reader in &mut readers {
        assert_eq!([reader.next().await, reader.next().await], [(Some(2), true), (Some(3), false)]);
    }
    // The same topic again, which has lost nothing since.
    rig.publish_many("jobs/1", 1).await;
    rig.log.sweep().await;
    for reader in &mut readers {
        assert_eq!([reader.next().await, reader.next().await], [(Some(6), false), (Some(7), false)]);
        assert_eq!(reader.next().await, (None, false));
    }
}

pub(crate) async fn a_reader_that_reads_on_finds_topics_that_are_new(rig: Rig) {
    let others = || (0..6000).map(|number| update(&format!("other/{number}"), "x")).collect();
    rig.publish_many("rare/1", 2).await;
    rig.log.append_all(others()).await.expect("room");
    rig.publish_many("rare/2", 1).await;
    rig.log.sweep().await;
    let filter = Beginning("rare/");
    let mut reader = Slow::new(&rig, &filter);
    assert_eq!([reader.next().await, reader.next().await], [(Some(1), false), (Some(2), false)]);
    rig.publish_many("rare/3", 1).await;
    rig.log.append_all(others()).await.expect("room");
    rig.publish_many("rare/4", 1).await;
    rig.log.sweep().await;
    rig.publish_many("rare/5", 1).await;
    let mut read = Vec::new();
    while reader.at < rig.log.bounds().newest {
        let (cursor, gap) = reader.next().await;
        assert!(!gap);
        read.extend(cursor);
    }
    assert_eq!(read, [6003, 6004, 12005, 12006]);
}
