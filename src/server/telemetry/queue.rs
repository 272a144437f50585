//! The queue between those who log and the thread that writes.

use std::io::{self, ErrorKind, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Pause after a failed write. Disks get room again, and a named pipe a new reader.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Lines waiting to be written, bounded in bytes. To add one never blocks on the output.
pub(super) struct LineQueue {
    max_bytes: usize,
    state: Mutex<QueueState>,
    /// Notified when there are lines.
    filled: Condvar,
    /// Notified when lines were written, or a write has failed.
    tried: Condvar,
}

struct QueueState {
    /// Whole lines, one after another.
    lines: Vec<u8>,
    /// How many lines did not fit since the last report.
    dropped: u64,
    /// Whether the writer has taken lines that are not written yet.
    is_writing: bool,
    /// Whether the latest write failed.
    is_failing: bool,
}

impl LineQueue {
    /// A queue of at most `max_bytes`. The writer may hold as many again.
    pub(super) const fn new(max_bytes: usize) -> Self {
        let state = QueueState { lines: Vec::new(), dropped: 0, is_writing: false, is_failing: false };
        Self { max_bytes, state: Mutex::new(state), filled: Condvar::new(), tried: Condvar::new() }
    }

    /// Adds a whole line, or drops and counts it if the queue is full.
    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.lines.len() + line.len() > self.max_bytes {
            state.dropped += 1;
            return;
        }
        state.lines.extend_from_slice(line);
        drop(state);
        self.filled.notify_one();
    }

    /// Writes lines for as long as the process lives. Calls `report` with the number of dropped lines where they
    /// would have stood; it may add a line.
    pub(super) fn write_to(&self, mut output: impl Write, report: impl Fn(u64)) -> ! {
        let mut batch = Vec::new();
        loop {
            let dropped = self.take(&mut batch);
            if dropped > 0 {
                report(dropped);
            }
            let mut rest = &batch[..];
            while write_rest(&mut output, &mut rest).is_err() {
                self.lock().is_failing = true;
                self.tried.notify_all();
                thread::sleep(RETRY_AFTER);
            }
            batch.clear();
            self.finish_batch();
        }
    }

    /// Waits for lines and moves them into the empty `batch`. Returns how many lines did not fit behind them.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        let mut state = self.lock();
        while state.lines.is_empty() {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_writing = true;
        std::mem::swap(&mut state.lines, batch);
        std::mem::take(&mut state.dropped)
    }

    /// Notes that a batch is written.
    fn finish_batch(&self) {
        let mut state = self.lock();
        state.is_writing = false;
        state.is_failing = false;
        drop(state);
        self.tried.notify_all();
    }

    /// Waits until every line so far is written, at most `timeout`, and no longer once a write has failed.
    pub(super) fn flush(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        while (state.is_writing || !state.lines.is_empty()) && !state.is_failing {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            state = self.tried.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `tracing` writes each line whole, in one call.
impl Write for &LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes `rest` and removes from its front what is written, also when it fails: a line that was cut goes on later.
fn write_rest(output: &mut impl Write, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match output.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => *rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{self, Receiver, Sender};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// An output that has room for some bytes, and then fails.
    struct Disk {
        room: Arc<AtomicUsize>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room.load(Ordering::Relaxed));
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.room.fetch_sub(count, Ordering::Relaxed);
            self.written.send(bytes[..count].to_vec()).expect("a test that listens");
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue with its writer, the disk's room, and what is written there.
    fn start(max_bytes: usize, room: usize) -> (&'static LineQueue, Arc<AtomicUsize>, Receiver<Vec<u8>>) {
        let queue: &'static LineQueue = Box::leak(Box::new(LineQueue::new(max_bytes)));
        let room = Arc::new(AtomicUsize::new(room));
        let (sender, written) = mpsc::channel();
        let disk = Disk { room: Arc::clone(&room), written: sender };
        thread::spawn(move || queue.write_to(disk, |dropped| queue.push(format!("dropped {dropped}\n").as_bytes())));
        (queue, room, written)
    }

    /// What is written until this line.
    fn written_until(line: &str, written: &Receiver<Vec<u8>>) -> String {
        let mut text = String::new();
        while !text.ends_with(line) {
            text += &String::from_utf8_lossy(&written.recv_timeout(PATIENCE).expect("more"));
        }
        text
    }

    #[test]
    fn lines_wait_while_the_disk_is_full_and_those_that_did_not_fit_are_counted() {
        let (queue, room, written) = start(100, 0);
        queue.push(b"first\n");
        // Returns once the writer has that line and has failed to write it.
        queue.flush(PATIENCE);
        for _ in 0..15 {
            queue.push(b"123456789\n");
        }
        room.store(usize::MAX, Ordering::Relaxed);
        let expected = format!("first\n{}dropped 5\n", "123456789\n".repeat(10));
        assert_eq!(written_until("dropped 5\n", &written), expected);
        queue.push(b"after\n");
        assert_eq!(written_until("after\n", &written), "after\n");
    }

    #[test]
    fn a_line_that_was_cut_goes_on_where_it_was_cut() {
        let (queue, room, written) = start(100, 3);
        queue.push(b"one line\n");
        queue.flush(PATIENCE);
        assert_eq!(written_until("one", &written), "one");
        room.store(usize::MAX, Ordering::Relaxed);
        assert_eq!(written_until("\n", &written), " line\n");
    }

    #[test]
    fn a_flush_waits_for_what_is_written_and_not_for_what_cannot_be() {
        let (queue, room, written) = start(100, usize::MAX);
        queue.push(b"a line\n");
        queue.flush(PATIENCE);
        assert_eq!(written.try_recv().expect("the line").len(), 7);
        room.store(0, Ordering::Relaxed);
        queue.push(b"another\n");
        let start = Instant::now();
        queue.flush(PATIENCE);
        assert!(start.elapsed() < PATIENCE);
        assert!(written.try_recv().is_err());
    }
}
