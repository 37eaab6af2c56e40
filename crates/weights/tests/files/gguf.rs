//! GGUF files of the package gguf, and damaged ones.

use std::error::Error as _;
use std::path::Path;

use proptest::prelude::*;
use tch::{Kind, Tensor};
use weights::{GgufArray, GgufFile, GgufValue, WeightsError};

use crate::common::golden;

fn open(name: &str) -> GgufFile {
    GgufFile::open(&golden("gguf").join(name)).unwrap()
}

/// Returns the error of opening a file of these bytes.
fn refusal(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    let error = GgufFile::open(&path).unwrap_err();
    assert!(error.to_string().contains("model.gguf"), "{error}");
    match &error {
        WeightsError::Gguf { source, .. } => source.to_string(),
        other => other.source().map_or_else(|| other.to_string(), ToString::to_string),
    }
}

/// A header of version 3 without its counts' entries.
fn header(tensors: u64, keys: u64) -> Vec<u8> {
    [b"GGUF".as_slice(), &3u32.to_le_bytes(), &tensors.to_le_bytes(), &keys.to_le_bytes()].concat()
}

fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes(), value.as_bytes()].concat()
}

/// A file of one tensor in single precision and 64 bytes of data.
fn one_tensor(dims: &[u64], type_number: u32, offset: u64) -> Vec<u8> {
    let mut bytes = header(1, 0);
    bytes.extend(text("weight"));
    bytes.extend((dims.len() as u32).to_le_bytes());
    bytes.extend(dims.iter().flat_map(|len| len.to_le_bytes()));
    bytes.extend(type_number.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32) + 64, 0);
    bytes
}

#[test]
fn blocks_of_every_form_hold_what_numpy_finds_in_them() {
    let file = open("types.gguf");
    for name in ["Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q6_K"] {
        assert_eq!(file.info(name).unwrap().ggml_type.name(), name);
        let (actual, expected) =
            (file.tensor(name, None).unwrap(), file.tensor(&format!("{name}.expected"), None).unwrap());
        assert_eq!((actual.kind(), actual.size()), (Kind::Float, vec![3, 256]), "{name}");
        assert!(actual.equal(&expected), "{name}");
        assert!(expected.abs().max().double_value(&[]) > 1.0, "{name}");
        let rounded = file.tensor(name, Some(Kind::BFloat16)).unwrap();
        assert!(rounded.equal(&expected.to_kind(Kind::BFloat16)), "{name}");
    }
}

#[test]
fn plain_numbers_keep_their_kind_and_are_not_copied() {
    let file = open("types.gguf");
    let exact = file.tensor("F64", None).unwrap();
    for (name, kind) in
        [("F64", Kind::Double), ("F32", Kind::Float), ("F16", Kind::Half), ("BF16", Kind::BFloat16)]
    {
        let tensor = file.tensor(name, None).unwrap();
        assert_eq!((tensor.kind(), tensor.size()), (kind, vec![2, 3, 4]), "{name}");
        assert_eq!(tensor.data_ptr(), file.tensor(name, Some(kind)).unwrap().data_ptr(), "{name}");
        let difference = (tensor.to_kind(Kind::Double) - &exact).abs().max().double_value(&[]);
        assert!(difference < 0.02, "{name}: {difference}");
    }
    for (name, kind) in [("I8", Kind::Int8), ("I16", Kind::Int16), ("I32", Kind::Int), ("I64", Kind::Int64)] {
        let expected = Tensor::from_slice(&[-5i64, 0, 7]).to_kind(kind);
        assert!(file.tensor(name, None).unwrap().equal(&expected), "{name}");
    }
}

#[test]
fn metadata_of_every_type_is_read() {
    let file = open("metadata.gguf");
    let one = |key: &str| file.metadata().get(&format!("one.{key}")).unwrap();
    let many = |key: &str| match file.metadata().get(&format!("many.{key}")).unwrap() {
        GgufValue::Array(array) => array,
        other => panic!("{other:?}"),
    };
    for (key, expected) in [
        ("UINT8", 200),
        ("INT8", -100),
        ("UINT16", 60_000),
        ("INT16", -30_000),
        ("UINT32", 4_000_000_000),
        ("INT32", -2_000_000_000),
        ("INT64", -(1 << 62)),
    ] {
        assert_eq!(one(key).as_i64(), Some(expected), "{key}");
        assert_eq!(many(key), &GgufArray::Integers(vec![expected, expected, 0]), "{key}");
    }
    assert_eq!((one("UINT64"), one("UINT64").as_i64()), (&GgufValue::Unsigned(1 << 63), None));
    assert_eq!(one("FLOAT32").as_f64(), Some(1e-5));
    assert_eq!(one("FLOAT64").as_f64(), Some(0.1));
    assert_eq!(many("FLOAT64"), &GgufArray::Floats(vec![0.1, 0.1, 0.0]));
    assert_eq!(many("FLOAT32"), &GgufArray::Floats(vec![1e-5f32.into(), 1e-5f32.into(), 0.0]));
    assert_eq!(one("BOOL").as_bool(), Some(true));
    assert_eq!(many("BOOL"), &GgufArray::Bools(vec![true, true, false]));
    assert_eq!(one("STRING").as_text(), Some("▁größe"));
    assert_eq!(many("STRING"), &GgufArray::Texts(["a", "▁größe", "b"].map(str::to_owned).to_vec()));
    let nested = GgufArray::Arrays(vec![GgufArray::Integers(vec![1, 2]), GgufArray::Integers(vec![3])]);
    assert_eq!(file.metadata().get("nested"), Some(&GgufValue::Array(nested)));
}

#[test]
fn the_files_own_alignment_counts() {
    let file = open("metadata.gguf");
    assert_eq!(file.metadata().get("general.alignment").and_then(GgufValue::as_i64), Some(64));
    for (name, len) in [("first", 3), ("second", 5)] {
        let expected = Tensor::arange(len, (Kind::Float, tch::Device::Cpu));
        assert!(file.tensor(name, None).unwrap().equal(&expected), "{name}");
    }
}

#[test]
fn version_2_is_read_as_version_3() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("v2.gguf");
    let mut bytes = std::fs::read(golden("gguf").join("types.gguf")).unwrap();
    bytes[4] = 2;
    std::fs::write(&path, bytes).unwrap();
    let (old, new) = (GgufFile::open(&path).unwrap(), open("types.gguf"));
    assert_eq!((old.version(), new.version()), (2, 3));
    assert!(old.names().eq(new.names()));
    assert!(old.tensor("Q6_K", None).unwrap().equal(&new.tensor("Q6_K", None).unwrap()));
}

#[test]
fn an_unsupported_element_type_is_rejected_by_name() {
    let bytes = std::fs::read(golden("gguf").join("refused.gguf")).unwrap();
    assert_eq!(
        refusal(&bytes),
        "tensor `blk.0.attn_q.weight` is in Q5_K, which is not supported; supported are F32, F16, BF16, Q8_0, Q4_0, \
         Q4_1, Q4_K, Q6_K"
    );
    assert!(refusal(&one_tensor(&[4], 999, 0)).contains("the unknown type 999"));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = std::fs::read(golden("gguf").join("metadata.gguf")).unwrap();
    // The last tensor's padding is no loss.
    for len in 0..bytes.len() - 64 {
        let text = refusal(&bytes[..len]);
        let fits = if len < 4 { "does not begin with" } else { "truncated" };
        assert!(text.contains(fits), "{len}: {text}");
    }
}

#[test]
fn absurd_counts_take_no_memory() {
    for (tensors, keys) in [(u64::MAX, 0), (0, u64::MAX), (1 << 40, 0), (0, 1 << 40)] {
        assert!(refusal(&header(tensors, keys)).contains("truncated"), "{tensors} {keys}");
    }
    for element in [0u32, 5, 8, 9, 12] {
        let count = u64::MAX / 4;
        let value = [&9u32.to_le_bytes(), element.to_le_bytes().as_slice(), &count.to_le_bytes()].concat();
        let text = refusal(&[header(0, 1), text("key"), value].concat());
        assert!(text.contains("the value of `key`"), "{text}");
    }
    let nested = [9u32.to_le_bytes().as_slice(), &1u64.to_le_bytes()].concat().repeat(64);
    let deep = refusal(&[header(0, 1), text("key"), 9u32.to_le_bytes().to_vec(), nested].concat());
    assert!(deep.contains("arrays more than 4 deep"), "{deep}");
}

#[test]
fn more_tensors_or_elements_than_any_file_has_are_rejected() {
    let many = [header(200_000, 0), vec![0; 200_000 * 24]].concat();
    assert!(refusal(&many).contains("it has 200000 tensors; at most 131072 are read"));
    let count = 5_000_000_u64;
    let value = [&9u32.to_le_bytes(), 0u32.to_le_bytes().as_slice(), &count.to_le_bytes()].concat();
    let bytes = [header(0, 1), text("key"), value, vec![0; count as usize]].concat();
    assert!(refusal(&bytes).contains("it has 5000000 elements in the value of `key`"));
}

#[test]
fn tensors_outside_the_file_are_rejected() {
    for (bytes, expected) in [
        (one_tensor(&[17], 0, 0), "needs the file to have"),
        (one_tensor(&[4], 0, 64), "needs the file to have"),
        (one_tensor(&[4], 0, u64::MAX - 31), "needs the file to have"),
        (one_tensor(&[4], 0, 4), "no multiple of 32"),
        (one_tensor(&[1 << 62, 1 << 62], 0, 0), "impossible shape"),
        (one_tensor(&[u64::MAX], 0, 0), "impossible shape"),
        (one_tensor(&[1; 5], 0, 0), "impossible shape of 5 dimensions"),
        (one_tensor(&[48], 2, 0), "rows of 48 elements; Q4_0 needs a multiple of 32"),
        ([b"GGUF".as_slice(), &1u32.to_le_bytes()].concat(), "version is 1"),
        ([b"GGUF".as_slice(), &3u32.to_be_bytes()].concat(), "big-endian"),
        (
            [header(0, 1), text("key"), 77u32.to_le_bytes().to_vec(), vec![0]].concat(),
            "unknown value type 77",
        ),
        (
            [header(0, 1), text("general.alignment"), [4u32, 0, 0].map(u32::to_le_bytes).concat()].concat(),
            "`general.alignment` is Unsigned(0)",
        ),
    ] {
        let text = refusal(&bytes);
        assert!(text.contains(expected), "{text}; expected {expected}");
    }
    assert!(!GgufFile::is_one(Path::new("nowhere")));
}

/// Parts that the package gguf wrote, in a directory of their own: three tensors in two files.
fn split() -> (tempfile::TempDir, impl Fn(u32) -> std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_owned();
    let part = move |number: u32| root.join(format!("split-{number:05}-of-00002.gguf"));
    for number in [1, 2] {
        let name = format!("split-{number:05}-of-00002.gguf");
        std::fs::copy(golden("gguf").join(name), part(number)).unwrap();
    }
    (dir, part)
}

#[test]
fn a_model_in_several_files_is_read_whole_from_any_of_them() {
    let (_dir, part) = split();
    for number in [1, 2] {
        let file = GgufFile::open(&part(number)).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["first", "second", "third"]);
        assert_eq!(file.metadata().get("general.name").and_then(GgufValue::as_text), Some("in parts"));
        for (name, start) in [("first", 0), ("second", 10), ("third", 20)] {
            let expected = Tensor::arange_start(start, start + 4, (Kind::Float, tch::Device::Cpu));
            assert!(file.tensor(name, None).unwrap().equal(&expected), "{name}");
        }
    }
}

#[test]
fn a_part_that_is_missing_or_of_another_model_is_named() {
    let refused = |path: &Path| {
        let WeightsError::Gguf { path, source } = GgufFile::open(path).unwrap_err() else {
            panic!("another error")
        };
        format!("{}: {source}", path.display())
    };
    for (gone, left) in [(1, 2), (2, 1)] {
        let (_dir, part) = split();
        std::fs::remove_file(part(gone)).unwrap();
        let said = refused(&part(left));
        assert!(
            said.contains("one of 2 files") && said.contains(&format!("split-{gone:05}-of-00002.gguf")),
            "{said}"
        );
    }
    let (_dir, part) = split();
    std::fs::copy(part(1), part(2)).unwrap();
    assert!(refused(&part(1)).contains("`split.no` is 0; expected 1"), "{}", refused(&part(1)));
    let (dir, part) = split();
    let renamed = dir.path().join("model.gguf");
    std::fs::rename(part(1), &renamed).unwrap();
    assert!(refused(&renamed).contains("NAME-00001-of-00002.gguf"), "{}", refused(&renamed));
    let (_dir, part) = split();
    std::fs::write(part(2), "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n").unwrap();
    assert!(GgufFile::open(&part(1)).unwrap_err().to_string().contains("Git LFS pointer"));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(at in 4usize..1200, with in any::<[u8; 8]>(), len in 1usize..9) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.gguf");
        let mut bytes = std::fs::read(golden("gguf").join("metadata.gguf")).unwrap();
        let end = bytes.len().min(at + len);
        bytes[at..end].copy_from_slice(&with[..end - at]);
        std::fs::write(&path, bytes).unwrap();
        if let Ok(file) = GgufFile::open(&path) {
            for name in file.names() {
                let _ = file.tensor(name, None).unwrap();
            }
        }
    }
}
