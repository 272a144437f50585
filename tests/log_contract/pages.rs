//! How much comes at once.

use std::time::Duration;

use tidings::server::log::{Cursor, PageSize, Reader, Update};

use super::rig::{ALL, AnyFilter, Beginning, Listing, Rig, Unasked, any, exactly, of, update};

/// Publishes an update for each of these sizes of its data, on a topic, each beside one that nobody wants.
async fn publish_sizes(rig: &Rig, topic: &str, sizes: impl IntoIterator<Item = usize>) -> Vec<(u64, usize)> {
    let mut published = Vec::new();
    for size in sizes {
        rig.publish(update("other", "x")).await;
        let entry = rig.publish(update(topic, &"x".repeat(size))).await;
        published.push((rig.number(entry.cursor), entry.size()));
    }
    published
}

/// The numbers and sizes of the entries of each page, until there is nothing more.
async fn pages(rig: &Rig, filter: AnyFilter, size: PageSize) -> Vec<Vec<(u64, usize)>> {
    let (mut at, mut pages) = (Cursor::START, Vec::new());
    let mut reader = rig.reader(at, filter);
    loop {
        let page = reader.next(size).await.expect("a page");
        assert!(page.next > at || !page.more, "it comes to an end");
        assert!(page.entries.iter().all(|entry| entry.cursor > at && entry.cursor <= page.next));
        at = page.next;
        pages.push(page.entries.iter().map(|entry| (rig.number(entry.cursor), entry.size())).collect());
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
            for filter in [any(exactly(&["a", "unknown"])), any(Beginning("a"))] {
                let mut read = pages(&rig, filter.clone(), size).await;
                read.retain(|page| !page.is_empty());
                assert_eq!(read, expected, "{size:?}, archived: {archived}");
            }
        }
        rig.log.sweep().await;
    }
}

pub(crate) async fn a_reader_costs_no_look_at_what_it_can_not_want(rig: Rig) {
    let mut wanted = Vec::new();
    for n in 0..100 {
        rig.publish(Update { private: true, ..update(&format!("private/{n}"), "x") }).await;
        if n % 10 == 0 {
            wanted.push(rig.publish(update("a", "x")).await.cursor);
        }
    }
    let size = PageSize { entries: 7, bytes: usize::MAX };
    for _ in 0..2 {
        for listing in [Listing::Lists, Listing::ListsNothing] {
            let mut reader = rig.reader(Cursor::START, any(Unasked(exactly(&["a"]), listing)));
            let pages = [reader.next(size).await.expect("a page"), reader.next(size).await.expect("a page")];
            let read: Vec<_> = pages.iter().flat_map(|page| &page.entries).map(|entry| entry.cursor).collect();
            assert_eq!(read, wanted);
        }
        rig.log.sweep().await;
    }
}

pub(crate) async fn an_entry_larger_than_a_page_comes_alone(rig: Rig) {
    let published = publish_sizes(&rig, "a", [10, 300_000, 300_000, 10]).await;
    let size = PageSize { entries: 512, bytes: 64 * 1024 };
    for _ in 0..2 {
        for filter in [any(exactly(&["a"])), any(Beginning("a"))] {
            let mut read = pages(&rig, filter.clone(), size).await;
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
    for filter in [any(exactly(&["a"])), any(Beginning("a"))] {
        for bytes in [0, 3000, usize::MAX] {
            let size = PageSize { entries: 512, bytes };
            let mut reader = rig.reader(rig.at(1), filter.clone());
            let first = reader.next(size).await.expect("a page");
            assert!(first.gap, "{bytes}");
            assert_eq!(rig.number(first.entries[0].cursor), kept[0].0);
            let second = reader.next(size).await.expect("a page");
            assert!(!second.gap, "{bytes}");
        }
    }
}

/// Reads a page of one entry after the other, as a reader that comes back whenever it likes.
struct Slow<'a> {
    rig: &'a Rig,
    reader: Box<dyn Reader>,
    at: Cursor,
}

impl<'a> Slow<'a> {
    fn new(rig: &'a Rig, filter: impl Into<AnyFilter>) -> Self {
        Self { rig, reader: rig.reader(Cursor::START, filter), at: Cursor::START }
    }

    /// The number of the next entry, and whether the page it is on tells of a gap.
    async fn next(&mut self) -> (Option<u64>, bool) {
        let page = self.reader.next(of(1)).await.expect("a page");
        self.at = page.next;
        (page.entries.first().map(|entry| self.rig.number(entry.cursor)), page.gap)
    }
}

pub(crate) async fn a_loss_is_told_once_to_a_reader_that_reads_on(rig: Rig) {
    rig.publish_many("news", 5).await;
    rig.publish_many("jobs/1", 10).await;
    rig.log.sweep().await;
    let mut readers = [any(exactly(&["news", "jobs/1"])), any(ALL)].map(|filter| Slow::new(&rig, filter));
    let mut content = Slow::new(&rig, Beginning("news"));
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
    let filters = [any(exactly(&["news", "jobs/1"])), any(ALL)];
    for filter in filters.clone() {
        assert_eq!(Slow::new(&rig, filter).next().await, (Some(1), false));
    }
    let mut readers = filters.map(|filter| Slow::new(&rig, filter));
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
    rig.append(others()).await;
    rig.publish_many("rare/2", 1).await;
    rig.log.sweep().await;
    let mut reader = Slow::new(&rig, Beginning("rare/"));
    assert_eq!([reader.next().await, reader.next().await], [(Some(1), false), (Some(2), false)]);
    rig.publish_many("rare/3", 1).await;
    rig.append(others()).await;
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
