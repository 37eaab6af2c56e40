//! Files of `torch.save`, of both ages.

use std::path::Path;

use weights::{TensorStore, TorchFileError, WeightsError};

use crate::common::{assert_holds, expected, golden, refusal, told};

#[test]
fn torch_files_of_both_ages_hold_what_python_saved() {
    let expected = expected();
    assert_eq!(expected.len(), 5);
    for (name, tensors) in &expected {
        for file in [format!("{name}.pt"), format!("{name}_legacy.pt")] {
            assert_holds(&TensorStore::open_file(&golden(&file)).unwrap(), tensors);
        }
    }
}

/// Not so in an old file, which puts storages at any address: what lies askew there is copied.
#[test]
fn tensors_of_one_storage_look_at_the_same_memory() {
    let store = TensorStore::open_file(&golden("views.pt")).unwrap();
    let at = |name| store.tensor(name).unwrap().data_ptr() as usize;
    assert_eq!(at("base"), at("same"));
    assert_eq!(at("rows") - at("base"), 6 * 4);
    assert_eq!(store.tensor("transposed").unwrap().stride(), [1, 6]);
}

#[test]
fn a_pickle_that_asks_for_a_function_is_refused_by_name_and_never_run() {
    for file in ["zip_foreign.pt", "legacy_foreign.pt", "plain_foreign.bin"] {
        let path = golden(file);
        let error = TensorStore::open_file(&path).unwrap_err();
        let refused = |source: &TorchFileError| matches!(source, TorchFileError::ForeignGlobal { .. });
        assert!(matches!(&error, WeightsError::TorchFile { source, .. } if refused(source)), "{file}");
        assert_eq!(
            told(&error),
            format!(
                "cannot read `{}` as tensors: pickle wants `posix.system`, which is not part of a tensor file; \
                 refused",
                path.display()
            )
        );
    }
    assert!(!Path::new("executed-by-a-pickle").exists());
}

#[test]
fn a_torch_file_cut_short_anywhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pytorch_model.bin");
    for file in ["kinds.pt", "kinds_legacy.pt", "views_legacy.pt", "state_dict.pt", "state_dict_legacy.pt"] {
        let bytes = std::fs::read(golden(file)).unwrap();
        for len in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
            refusal(&path, &bytes[..len]);
        }
    }
}

#[test]
fn an_interrupted_download_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pytorch_model.bin");
    let zip = std::fs::read(golden("state_dict.pt")).unwrap();
    assert!(
        refusal(&path, &zip[..zip.len() / 2])
            .ends_with("the zip archive is truncated: its directory, at the end of the file, is missing")
    );
    let legacy = std::fs::read(golden("nested_legacy.pt")).unwrap();
    let text = refusal(&path, &legacy[..legacy.len() - 3]);
    assert!(text.ends_with("is truncated: 8 bytes were promised, 5 are there"), "{text}");
}

#[test]
fn a_torch_file_with_any_byte_changed_gives_tensors_or_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pytorch_model.bin");
    for file in ["nested.pt", "views_legacy.pt"] {
        let bytes = std::fs::read(golden(file)).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x41;
            std::fs::write(&path, &changed).unwrap();
            if let Ok(store) = TensorStore::open_file(&path) {
                store.names().for_each(|name| drop(store.tensor(name)));
            }
        }
    }
}

#[test]
fn a_pickle_without_tensors_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    // pickle.dumps([1, 2], protocol=2)
    let text = refusal(&dir.path().join("list.pt"), b"\x80\x02]q\x00(K\x01K\x02e.");
    assert!(text.ends_with("the file is a pickle, but `torch.save` did not write it"), "{text}");
}
