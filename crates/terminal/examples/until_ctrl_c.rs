//! Counts until Ctrl-C, or to five.

// ANCHOR: readme
use std::time::Duration;

use terminal::{Interrupt, OutputError, print_result, say};

fn main() -> Result<(), OutputError> {
    let Ok(interrupt) = Interrupt::listen() else { return Ok(()) };
    interrupt.begin();
    for number in 0..5 {
        if interrupt.is_asked() {
            say("as you wish");
            break;
        }
        print_result(&format!("{number}\n"))?;
        std::thread::sleep(Duration::from_millis(20));
    }
    interrupt.end();
    Ok(())
}
// ANCHOR_END: readme
