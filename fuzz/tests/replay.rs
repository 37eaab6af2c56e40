//! Every target keeps its laws on the inputs that are committed.

use fuzz::{TARGETS, committed};

#[test]
fn laws_hold_on_every_committed_input() {
    for target in TARGETS {
        for (path, bytes) in committed(target.name) {
            eprintln!("{}", path.display());
            let _ = target.check(&bytes);
        }
    }
}

#[test]
fn every_target_takes_one_of_its_seeds_to_the_end() {
    for target in TARGETS {
        let refused: Vec<String> = target.seeds().iter().map_while(|seed| target.check(seed).err()).collect();
        assert!(refused.len() < target.seeds().len(), "{}: {refused:#?}", target.name);
    }
}

#[test]
fn committed_inputs_belong_to_a_target() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("inputs");
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(fuzz::find(&name).is_some(), "`inputs/{name}` is of no target");
    }
}
