//! Looks into a checkpoint without reading its tensors, and writes one of them to a file of its own.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

// ANCHOR: readme
use std::error::Error;
use std::path::Path;

use weights::{TensorStore, pt_metadata, write_safetensors};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/tiny-llama");
    let store = TensorStore::open(&dir)?; // headers only; or a .bin, .pth or .safetensors file
    for name in store.names().take(3) {
        let info = store.info(name)?;
        println!("{name} {:?} {:?}", info.kind, info.shape);
    }
    println!("{} bytes in all", store.num_bytes());

    let name = "model.norm.weight".to_owned();
    let tensor = store.tensor(&name)?; // looks straight at the mapped file
    let copy = std::env::temp_dir().join("example-norm.safetensors");
    write_safetensors(&copy, &[(name, &tensor)], &pt_metadata())?; // whole, or not there
    println!("{:?}", TensorStore::open_file(&copy)?.names().collect::<Vec<_>>());
    Ok(())
}
// ANCHOR_END: readme
