//! Files of our own.

use std::collections::BTreeMap;
use std::path::Path;

use tch::{Kind, Tensor};
use weights::{
    SafetensorsWriter, TensorSpec, TensorStore, WeightsError, atomic_write, pt_metadata, write_safetensors,
};

use crate::common::golden;

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn our_file_is_byte_for_byte_that_of_python() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    for (file, metadata) in
        [("kinds.safetensors", pt_metadata()), ("state_dict.safetensors", BTreeMap::new())]
    {
        let store = TensorStore::open_file(&golden(file)).unwrap();
        // In another order than the file's.
        let tensors: Vec<(String, Tensor)> = store
            .names()
            .map(|name| (name.to_owned(), store.tensor(name).unwrap()))
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
        let borrowed: Vec<(String, &Tensor)> = tensors.iter().map(|(name, t)| (name.clone(), t)).collect();
        write_safetensors(&path, &borrowed, &metadata).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(golden(file)).unwrap(), "{file}");
    }
}

#[test]
fn a_tensor_that_is_not_contiguous_is_written_as_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let base = Tensor::arange(6, (Kind::Float, tch::Device::Cpu)).view([2, 3]);
    let (transposed, column) = (base.tr(), base.select(1, 1));
    let tensors = [("t".to_owned(), &transposed), ("c".to_owned(), &column)];
    write_safetensors(&path, &tensors, &BTreeMap::new()).unwrap();
    let store = TensorStore::open_file(&path).unwrap();
    assert_eq!(store.tensor("t").unwrap(), transposed);
    assert_eq!(Vec::<f32>::try_from(store.tensor("c").unwrap()).unwrap(), [1.0, 4.0]);
}

fn writer(path: &Path) -> SafetensorsWriter {
    let spec = |name: &str| TensorSpec { name: name.to_owned(), kind: Kind::Float, shape: vec![2] };
    SafetensorsWriter::new(path, vec![spec("a"), spec("b")], &BTreeMap::new()).unwrap()
}

#[test]
fn a_file_whose_writing_fails_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    std::fs::write(&path, "old").unwrap();
    let stopped = || WeightsError::Exists { path: "stands for any failure".into() };
    let tensor = || Tensor::zeros([2], (Kind::Float, tch::Device::Cpu));
    let failed = writer(&path).write(|spec| if spec.name == "a" { Ok(tensor()) } else { Err(stopped()) });
    assert!(matches!(failed, Err(WeightsError::Exists { .. })));
    let unlike = writer(&path).write(|_| Ok::<_, WeightsError>(tensor().to_kind(Kind::Half)));
    let text = unlike.unwrap_err().to_string();
    assert!(text.starts_with("tensor `a` for") && text.contains("Half [2], but Float [2]"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(names(dir.path()), ["model.safetensors"]);
}

#[test]
fn a_name_that_is_taken_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let tensor = Tensor::zeros([2], (Kind::Float, tch::Device::Cpu));
    for name in ["a", "__metadata__"] {
        let tensors = [("a".to_owned(), &tensor), (name.to_owned(), &tensor)];
        let error = write_safetensors(&path, &tensors, &BTreeMap::new()).unwrap_err();
        assert!(matches!(&error, WeightsError::NameTaken { name: taken, .. } if taken == name), "{error}");
    }
    assert!(names(dir.path()).is_empty());
}

/// The temporary name is known, so a link to `/dev/full` under it stands for a disk without room.
#[test]
fn a_full_disk_leaves_the_old_file_and_is_reported_with_the_size() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        eprintln!("skipped: /dev/full is absent");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    std::fs::write(&path, "old").unwrap();
    let link = || {
        let temporary = dir.path().join(format!(".model.safetensors.tmp-{}", std::process::id()));
        std::os::unix::fs::symlink(full, temporary).unwrap();
    };
    link();
    let tensor = Tensor::zeros([1000], (Kind::Float, tch::Device::Cpu));
    let error = write_safetensors(&path, &[("a".to_owned(), &tensor)], &BTreeMap::new()).unwrap_err();
    assert!(matches!(error, WeightsError::DiskFull { num_bytes: 4000.., .. }), "{error}");
    assert!(error.to_string().starts_with("the disk is full: cannot write `"), "{error}");
    link();
    let error = atomic_write(&path, |file| file.write_all(&[0; 5000])).unwrap_err();
    assert!(matches!(error, WeightsError::DiskFull { num_bytes: 5000, .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(names(dir.path()), ["model.safetensors"]);
}

#[test]
fn a_missing_directory_is_reported_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("absent/model.safetensors");
    let tensor = Tensor::zeros([2], (Kind::Float, tch::Device::Cpu));
    let error = write_safetensors(&path, &[("a".to_owned(), &tensor)], &BTreeMap::new()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write `{}`", path.display()));
}
