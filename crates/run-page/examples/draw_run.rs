//! Reads the run in `lora-alpaca`, where there is one, and draws it.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

// ANCHOR: readme
use std::path::Path;

use run_page::{RunRecord, loss_svg, page, sparkline};

fn main() {
    match RunRecord::read(Path::new("lora-alpaca")) {
        Ok(run) => {
            println!("{} {}", run.name, sparkline(&run.losses(), 40));
            let runs = [run];
            println!("{} bytes of page, {} of picture", page(&runs).len(), loss_svg(&runs).len());
        }
        Err(error) => println!("{error}"),
    }
}
// ANCHOR_END: readme
