//! How much comes at once.

use tidings::server::log::{Cursor, PageSize, TopicFilter};

use super::rig::{Beginning, Rig, exactly, update};

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
    let (mut at, mut pages) = (Cursor::START, Vec::new());
    loop {
        let page = rig.read_sized(at, filter, size).await;
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
            let before = rig.read_sized(Cursor(1), filter, size).await;
            assert!(before.gap, "{bytes}");
            assert_eq!(before.entries[0].cursor.0, kept[0].0);
            // The later pages begin behind it.
            let after = rig.read_sized(before.next, filter, size).await;
            assert!(!after.gap, "{bytes}");
        }
    }
}
