//! Reading safetensors, whole and damaged.

use std::path::PathBuf;

use tempfile::TempDir;
use weights::TensorStore;

use crate::common::{assert_holds, expected, golden, refusal};

fn scratch() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    (dir, path)
}

/// A file with this header and so many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn a_safetensors_file_holds_what_python_saved() {
    let store = TensorStore::open_file(&golden("kinds.safetensors")).unwrap();
    assert_holds(&store, &expected()["kinds"]);
    assert_eq!(store.metadata()["format"], "pt");
    assert_eq!(store.num_bytes(), 24 + 16 + 6 + 6 + 24 + 8 + 4 + 3 + 3 + 3 + 4);
}

#[test]
fn a_safetensors_file_cut_short_anywhere_is_refused() {
    let (_dir, path) = scratch();
    let bytes = std::fs::read(golden("kinds.safetensors")).unwrap();
    for len in 0..bytes.len() {
        let text = refusal(&path, &bytes[..len]);
        assert!(text.contains("is truncated") && text.ends_with(&format!("the file has {len}")), "{text}");
    }
}

#[test]
fn bytes_after_the_last_tensor_are_refused() {
    let (_dir, path) = scratch();
    let mut bytes = std::fs::read(golden("kinds.safetensors")).unwrap();
    let expected = bytes.len();
    bytes.push(0);
    let text = refusal(&path, &bytes);
    let told = format!("its header promises {expected} bytes, the file has {}", expected + 1);
    assert!(text.ends_with(&told), "{text}");
}

#[test]
fn a_header_longer_than_possible_is_refused_before_it_is_read() {
    let (_dir, path) = scratch();
    let text = refusal(&path, &[&u64::MAX.to_le_bytes(), b"{}".as_slice()].concat());
    assert!(text.ends_with("claims 18446744073709551615 bytes; at most 100000000 are possible"), "{text}");
}

#[test]
fn a_header_that_contradicts_itself_is_refused() {
    let (_dir, path) = scratch();
    let tensor = |shape: &str, offsets: &str| {
        format!(r#"{{"dtype": "F32", "shape": {shape}, "data_offsets": {offsets}}}"#)
    };
    let cases = [
        ("no JSON", r#"{"a": "#.to_owned(), 0),
        ("a size that is not that of the shape", format!(r#"{{"a": {}}}"#, tensor("[3]", "[0, 8]")), 8),
        ("a hole", format!(r#"{{"a": {}}}"#, tensor("[1]", "[4, 8]")), 8),
        (
            "an overlap",
            format!(r#"{{"a": {}, "b": {}}}"#, tensor("[2]", "[0, 8]"), tensor("[2]", "[4, 12]")),
            12,
        ),
        (
            "a shape that overflows",
            format!(r#"{{"a": {}}}"#, tensor("[9223372036854775807, 9]", "[0, 8]")),
            8,
        ),
        ("a negative size", format!(r#"{{"a": {}}}"#, tensor("[-1]", "[0, 4]")), 4),
        ("a name that comes twice", format!(r#"{{"a": {0}, "a": {0}}}"#, tensor("[1]", "[0, 4]")), 4),
        ("metadata that come twice", r#"{"__metadata__": {}, "__metadata__": {}}"#.to_owned(), 0),
        ("an unknown type", tensor("[1]", "[0, 4]").replace("F32", "F99"), 4),
    ];
    for (what, header, data) in cases {
        let text = refusal(&path, &file(&header, data));
        assert!(text.contains("header"), "{what}: {text}");
    }
}

#[test]
fn a_header_of_a_million_tensors_is_refused() {
    let (_dir, path) = scratch();
    let entry = |index| format!(r#""{index}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
    let entries: Vec<String> = (0..200_000).map(entry).collect();
    let text = refusal(&path, &file(&format!("{{{}}}", entries.join(",")), 0));
    assert!(text.contains("header") && text.contains("more than 131072 tensors"), "{text}");
}

#[test]
fn an_element_type_libtorch_lacks_is_named_with_its_tensor() {
    let (_dir, path) = scratch();
    let header = r#"{"a.weight": {"dtype": "U64", "shape": [1], "data_offsets": [0, 8]}}"#;
    let text = refusal(&path, &file(header, 8));
    assert!(text.starts_with("tensor `a.weight` of") && text.contains("dtype U64"), "{text}");
}

#[test]
fn files_that_are_no_checkpoint_are_reported_by_their_kind() {
    let dir = tempfile::tempdir().unwrap();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    for name in ["model.safetensors", "pytorch_model.bin"] {
        let text = refusal(&dir.path().join(name), pointer);
        assert!(text.contains("is a Git LFS pointer") && text.contains("git lfs pull"), "{text}");
    }
    let text = refusal(&dir.path().join("notes.bin"), b"a page of text, not weights");
    assert!(text.ends_with("is neither a safetensors file nor a torch pickle"), "{text}");
    let absent = TensorStore::open_file(&dir.path().join("absent.safetensors")).unwrap_err();
    assert!(absent.to_string().contains("absent.safetensors"));
    let empty = tempfile::tempdir().unwrap();
    let text = TensorStore::open(empty.path()).unwrap_err().to_string();
    assert!(text.contains("model.safetensors, model.safetensors.index.json, pytorch_model.bin"), "{text}");
}

#[test]
fn a_missing_tensor_is_reported_with_the_nearest_names() {
    let store = TensorStore::open_file(&golden("state_dict.safetensors")).unwrap();
    let text = store.tensor("0.weigth").unwrap_err().to_string();
    assert!(text.starts_with("no tensor `0.weigth` in") && text.contains("nearest: `0.weight`"), "{text}");
}

#[test]
fn writing_to_a_tensor_never_reaches_its_file() {
    let (_dir, path) = scratch();
    let bytes = std::fs::read(golden("kinds.safetensors")).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    let store = TensorStore::open_file(&path).unwrap();
    let mut tensor = store.tensor("f32").unwrap();
    let _ = tensor.fill_(7.0);
    assert_eq!(Vec::<f32>::try_from(tensor.view([-1])).unwrap(), [7.0; 4]);
    drop((tensor, store));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}
