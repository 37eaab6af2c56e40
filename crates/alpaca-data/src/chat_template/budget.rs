//! Bounds of one rendering: bytes of all texts that it makes, and time.
//!
//! Steps are bounded by minijinja's fuel, but a step may double a text. So whatever makes a text or a list asks here first.

use std::cell::RefCell;
use std::fmt;
use std::time::{Duration, Instant};

use minijinja::{Error, ErrorKind};

/// Bytes of all texts and lists of one rendering, those in between included: a conversation has some 100 KB.
pub(super) const MAX_BYTES: usize = 128 << 20;
/// Time of one rendering, which takes milliseconds.
const MAX_TIME: Duration = Duration::from_secs(5);

/// State of a rendering, which belongs to its thread.
#[derive(Debug)]
struct Rendering {
    bytes_left: usize,
    deadline: Instant,
    /// Bytes of the output so far.
    written: usize,
    /// Texts of `{% generation %}` blocks, and the bytes of output before each.
    generated: Vec<(usize, String)>,
}

thread_local! {
    static RENDERING: RefCell<Option<Rendering>> = const { RefCell::new(None) };
}

/// Runs a rendering within the bounds; also returns the texts of its `{% generation %}` blocks and where they begin.
pub(super) fn bounded<T>(render: impl FnOnce() -> T) -> (T, Vec<(usize, String)>) {
    let deadline = Instant::now() + MAX_TIME;
    let rendering = Rendering { bytes_left: MAX_BYTES, deadline, written: 0, generated: Vec::new() };
    RENDERING.set(Some(rendering));
    let result = render();
    let generated = RENDERING.take().map(|rendering| rendering.generated).unwrap_or_default();
    (result, generated)
}

/// Takes bytes for a text or list that is about to be made.
pub(super) fn take(bytes: usize) -> Result<(), Error> {
    let over = |what: String| Err(Error::new(ErrorKind::InvalidOperation, what));
    RENDERING.with_borrow_mut(|rendering| {
        let Some(rendering) = rendering else { return Ok(()) };
        match rendering.bytes_left.checked_sub(bytes) {
            None => {
                return over(format!("the chat template makes more than {} MiB of text", MAX_BYTES >> 20));
            }
            Some(left) => rendering.bytes_left = left,
        }
        if Instant::now() > rendering.deadline {
            return over(format!("the chat template takes more than {} s", MAX_TIME.as_secs()));
        }
        Ok(())
    })
}

/// Records what a `{% generation %}` block writes next.
pub(super) fn generate(text: &str) -> Result<(), Error> {
    take(text.len())?;
    RENDERING.with_borrow_mut(|rendering| {
        if let Some(rendering) = rendering {
            rendering.generated.push((rendering.written, text.to_owned()));
        }
    });
    Ok(())
}

/// Output that counts, and refuses what is beyond the bounds.
#[derive(Debug, Default)]
pub(super) struct Output(pub(super) String);

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        take(text.len()).map_err(|_| fmt::Error)?;
        self.0.push_str(text);
        Ok(())
    }
}

impl std::io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        take(bytes.len()).map_err(std::io::Error::other)?;
        let text = std::str::from_utf8(bytes).map_err(std::io::Error::other)?;
        self.0.push_str(text);
        RENDERING.with_borrow_mut(|rendering| {
            if let Some(rendering) = rendering {
                rendering.written += bytes.len();
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
