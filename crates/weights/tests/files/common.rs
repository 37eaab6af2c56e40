//! The goldens, and how to compare with them.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tch::{Kind, Tensor};
use weights::TensorStore;

/// A tensor as `expected.json` describes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Expected {
    dtype: String,
    shape: Vec<i64>,
    /// Numbers in Python's spelling.
    values: Vec<String>,
}

pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

/// File to tensors by name.
pub(crate) fn expected() -> BTreeMap<String, BTreeMap<String, Expected>> {
    serde_json::from_slice(&std::fs::read(golden("expected.json")).unwrap()).unwrap()
}

/// Checks names, kinds, shapes and values of a whole store.
pub(crate) fn assert_holds(store: &TensorStore, expected: &BTreeMap<String, Expected>) {
    let path = store.path().display();
    assert!(store.names().eq(expected.keys()), "{path}");
    for (name, expected) in expected {
        let (info, tensor) = (store.info(name).unwrap(), store.tensor(name).unwrap());
        assert_eq!(
            (info.kind, info.shape),
            (kind(&expected.dtype), expected.shape.clone()),
            "{path}: {name}"
        );
        assert_eq!((tensor.kind(), tensor.size()), (kind(&expected.dtype), expected.shape.clone()));
        assert_elements(&tensor, &expected.values, &format!("{path}: {name}"));
    }
}

fn kind(dtype: &str) -> Kind {
    match dtype {
        "float64" => Kind::Double,
        "float32" => Kind::Float,
        "float16" => Kind::Half,
        "bfloat16" => Kind::BFloat16,
        "int64" => Kind::Int64,
        "int32" => Kind::Int,
        "int16" => Kind::Int16,
        "int8" => Kind::Int8,
        "uint8" => Kind::Uint8,
        "bool" => Kind::Bool,
        other => panic!("no kind for {other}"),
    }
}

/// Tells whether the elements are, to the last bit, the numbers that Python spelt.
fn assert_elements(tensor: &Tensor, expected: &[String], what: &str) {
    let flat = tensor.reshape([-1]);
    if tensor.is_floating_point() {
        let expected: Vec<f64> = expected.iter().map(|value| value.parse().unwrap()).collect();
        assert_eq!(Vec::<f64>::try_from(flat.to_kind(Kind::Double)).unwrap(), expected, "{what}");
    } else {
        let number = |value: &String| match value.as_str() {
            "True" => 1,
            "False" => 0,
            number => number.parse().unwrap(),
        };
        let expected: Vec<i64> = expected.iter().map(number).collect();
        assert_eq!(Vec::<i64>::try_from(flat.to_kind(Kind::Int64)).unwrap(), expected, "{what}");
    }
}

/// An error and all its causes, as a program prints them.
pub(crate) fn told(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Returns the error of opening a file of these bytes.
pub(crate) fn refusal(path: &Path, bytes: &[u8]) -> String {
    std::fs::write(path, bytes).unwrap();
    let text = told(&TensorStore::open_file(path).expect_err("the file is refused"));
    assert!(text.contains(&*path.to_string_lossy()), "the file is not named: {text}");
    text
}
