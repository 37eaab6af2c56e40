//! The ground that a program on the command line stands on, whatever it does: flags in both spellings, results and messages
//! that nobody may be reading, an end in order.
//!
//! - [`normalised`], [`trimmed`]: the command line as it was meant; [`shell_line`]: as one types it again;
//! - [`nearest()`]: the name that a mistyped word meant;
//! - [`print_result`], [`print()`], [`say`], [`Messages`]: writing that neither panics nor hides a lost result;
//! - [`speak_as`]: one voice of several processes;
//! - [`on_first_signal`], [`Interrupt`]: the first Ctrl-C asks, the second ends; [`survive_file_size_limit`].

// A message must never end the work: `eprintln!` panics where nobody reads.
#![warn(clippy::print_stderr)]

mod nearest;
mod output;
mod paths;
mod shell;
mod signals;
mod spelling;

pub use nearest::nearest;
pub use output::{Messages, OutputError, bytes, count, print, print_result, say, say_error, speak_as};
pub use paths::{is_path, trimmed};
pub use shell::shell_line;
pub use signals::{Interrupt, on_first_signal, survive_file_size_limit};
pub use spelling::normalised;
