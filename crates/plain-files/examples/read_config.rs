//! Reads a small file of another program.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

// ANCHOR: readme
use std::path::Path;

use plain_files::read_text;

fn main() -> std::io::Result<()> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/tiny-llama");
    let text = read_text(&dir.join("config.json"), 1 << 20)?;
    println!("{} bytes", text.len());

    // Not waited for, not read without end: "it is a device, not a regular file".
    if let Err(error) = read_text(Path::new("/dev/zero"), 1 << 20) {
        println!("{error}");
    }
    Ok(())
}
// ANCHOR_END: readme
