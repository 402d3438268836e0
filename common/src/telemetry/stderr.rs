//! Standard error, written so that nobody ever waits for it.
//!
//! Standard error may be a pipe, and its reader may hang. So lines go into a buffer of bounded size, which a
//! thread of its own writes out. A line that does not fit is dropped and counted: work goes on.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::metrics;

/// Capacity of the buffer in bytes: some seconds of a busy program.
const CAPACITY: usize = 1024 * 1024;

/// How long the end of the program waits for the last lines to be read.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the thread pauses where standard error does not block and is full.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// The buffer of this process.
static STDERR: LazyLock<Buffer> = LazyLock::new(|| {
    let file = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    match file {
        Ok(file) => Buffer::before(file),
        // There is no standard error.
        Err(_) => Buffer::before(io::sink()),
    }
});

/// A writer of one line: never blocks, never fails.
pub(super) struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        STDERR.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes one line for people, as the last words of a program. Waits a moment for it to be read.
pub fn say(text: &str) {
    STDERR.push(format!("{text}\n").as_bytes());
    flush();
}

/// Waits a moment for everything to be written.
pub fn flush() {
    STDERR.flush(FLUSH_TIMEOUT);
}

/// Reports panics as log lines. The standard library would write them to standard error itself, and wait for
/// its reader.
pub(super) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(thread = std::thread::current().name(), "{panic}");
    }));
}

/// Lines on their way to a writer that may block.
struct Buffer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    filled: Condvar,
    /// Everything is written.
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// The thread is writing.
    busy: bool,
    /// How many lines were dropped since the last time that it was said.
    dropped: u64,
}

impl Buffer {
    /// A buffer before `writer`, and the thread between them.
    fn before(writer: impl Write + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("log".to_owned());
        // Without a thread the buffer fills and lines are dropped, as they are without a reader.
        let _ = thread.spawn(move || theirs.write_out(writer));
        Self(shared)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.0.state();
        if state.waiting.len() + line.len() > CAPACITY {
            state.dropped += 1;
            drop(state);
            metrics::log_lines_dropped(1);
            return;
        }
        state.waiting.extend_from_slice(line);
        drop(state);
        self.0.filled.notify_one();
    }

    /// Waits until everything is written, but no longer than `patience`. Returns whether it is.
    fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.0.state();
        while state.busy || !state.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.emptied.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the lines, for as long as the process lives.
    fn write_out(&self, mut writer: impl Write) {
        let mut lines = Vec::new();
        loop {
            {
                let mut state = self.state();
                state.busy = false;
                while state.waiting.is_empty() {
                    self.emptied.notify_all();
                    let filled = self.filled.wait(state);
                    state = filled.unwrap_or_else(PoisonError::into_inner);
                }
                std::mem::swap(&mut state.waiting, &mut lines);
                state.busy = true;
            }
            let written = write_all(&mut writer, &lines);
            if written.is_err() {
                // Its reader is gone.
                let lost = lines.iter().filter(|&&byte| byte == b'\n').count();
                metrics::log_lines_dropped(u64::try_from(lost).unwrap_or(u64::MAX));
            }
            lines.clear();
            let dropped = std::mem::take(&mut self.state().dropped);
            if dropped > 0 {
                tracing::warn!(lines = dropped, "log lines were dropped: nobody read them");
            }
        }
    }
}

/// As [`Write::write_all`], also where the writer would rather not block.
fn write_all(writer: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match writer.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::park_timeout(FULL_PAUSE);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// A pipe that takes one write at a time, and only when it is read.
    struct Pipe(SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let sent = self.0.send(bytes.to_owned());
            sent.map_err(|_| ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pipe() -> (Buffer, Receiver<Vec<u8>>) {
        let (writer, reader) = sync_channel(0);
        (Buffer::before(Pipe(writer)), reader)
    }

    #[test]
    fn a_reader_that_hangs_makes_nobody_wait_and_gets_what_there_was_room_for() {
        let (buffer, reader) = pipe();
        let line = [b'x'; 1023].iter().copied().chain([b'\n']);
        let line: Vec<u8> = line.collect();
        let began = Instant::now();
        for _ in 0..5 * CAPACITY / line.len() {
            buffer.push(&line);
        }
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(!buffer.flush(Duration::from_millis(20)), "nobody reads");
        let dropped = buffer.0.state().dropped;
        assert!(dropped > 0);
        let mut read = 0;
        while read < CAPACITY / 2 {
            read += reader.recv().unwrap().len();
        }
        assert_eq!(read % line.len(), 0, "whole lines");
    }

    #[test]
    fn what_is_read_is_written_in_order_and_flushed() {
        let (buffer, reader) = pipe();
        let all = std::thread::spawn(move || reader.iter().take(3).flatten().collect::<Vec<_>>());
        for line in ["one\n", "two\n", "three\n"] {
            buffer.push(line.as_bytes());
            assert!(buffer.flush(Duration::from_secs(5)));
        }
        assert_eq!(all.join().unwrap(), b"one\ntwo\nthree\n");
    }
}
