//! Files that are written in pieces: what comes back is what went in.

use std::path::Path;

use tch::{Device, Kind, Tensor};
use weights::{
    GgmlType, GgufArray, GgufFile, GgufTensorSpec, GgufValue, GgufWriter, TensorSpec, TensorStore,
    TensorStream, TorchWriter, WeightsError,
};

const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

/// Numbers without a pattern.
fn numbers(shape: &[i64], kind: Kind) -> Tensor {
    let count = Tensor::arange(shape.iter().product::<i64>(), CPU);
    (&count * &count * 0.37).sin().view(shape).to_kind(kind)
}

/// Hands `tensor` over in pieces of `rows` rows.
fn write(stream: &mut TensorStream, name: &str, tensor: &Tensor, rows: i64) {
    let count = tensor.size().first().copied().unwrap_or(1);
    if tensor.dim() == 0 {
        return stream.write(name, tensor).unwrap();
    }
    for start in (0..count).step_by(rows as usize) {
        stream.write(name, &tensor.narrow(0, start, rows.min(count - start))).unwrap();
    }
}

fn tensors() -> Vec<(&'static str, Tensor)> {
    vec![
        ("matrix", numbers(&[7, 5], Kind::BFloat16)),
        ("bias", numbers(&[9], Kind::Float)),
        ("scalar", Tensor::from(3i64)),
        ("half", numbers(&[2, 3, 4], Kind::Half)),
    ]
}

fn specs(tensors: &[(&str, Tensor)]) -> Vec<TensorSpec> {
    let spec =
        |(name, t): &(&str, Tensor)| TensorSpec { name: (*name).to_owned(), kind: t.kind(), shape: t.size() };
    tensors.iter().map(spec).collect()
}

fn torch_file(path: &Path, rows: i64) {
    let tensors = tensors();
    let shared = [("head".to_owned(), "matrix".to_owned())];
    let writer = TorchWriter::new(path, specs(&tensors), &shared).unwrap();
    let mut stream = writer.stream().unwrap();
    for (name, tensor) in &tensors {
        write(&mut stream, name, tensor, rows);
    }
    stream.finish().unwrap();
    assert_eq!(std::fs::metadata(path).unwrap().len(), writer.num_bytes());
}

#[test]
fn a_torch_file_reads_back_equal_whatever_its_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("consolidated.00.pth");
    torch_file(&path, 2);
    let store = TensorStore::open_file(&path).unwrap();
    assert_eq!(store.names().collect::<Vec<_>>(), ["bias", "half", "head", "matrix", "scalar"]);
    for (name, tensor) in tensors() {
        let read = store.tensor(name).unwrap();
        assert_eq!((read.kind(), read.size()), (tensor.kind(), tensor.size()), "{name}");
        assert_eq!(read, tensor, "{name}");
    }
    assert_eq!(store.tensor("head").unwrap().data_ptr(), store.tensor("matrix").unwrap().data_ptr());
    let bytes = std::fs::read(&path).unwrap();
    torch_file(&path, 100);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn every_record_of_a_torch_file_is_aligned_and_has_its_checksum() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("consolidated.00.pth");
    torch_file(&path, 3);
    let mut archive = zip::ZipArchive::new(std::fs::File::open(&path).unwrap()).unwrap();
    assert_eq!(archive.len(), 3 + tensors().len());
    for index in 0..archive.len() {
        let mut record = archive.by_index(index).unwrap();
        assert_eq!(record.data_start().unwrap() % 64, 0, "{}", record.name());
        // Reading to the end compares the checksum.
        std::io::copy(&mut record, &mut std::io::sink()).unwrap();
    }
    // The local headers have the checksums too.
    let bytes = std::fs::read(&path).unwrap();
    let local = bytes.windows(4).enumerate().filter(|(_, window)| window == b"PK\x03\x04");
    assert!(local.clone().count() == 7 && local.into_iter().all(|(at, _)| bytes[at + 14..at + 18] != [0; 4]));
}

#[test]
fn pieces_that_were_not_announced_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("consolidated.00.pth");
    let tensors = tensors();
    let stream = || TorchWriter::new(&path, specs(&tensors), &[]).unwrap().stream().unwrap();
    let matrix = &tensors[0].1;
    for (name, piece) in [
        ("bias", &tensors[1].1),
        ("matrix", &matrix.to_kind(Kind::Half)),
        ("matrix", &matrix.narrow(1, 0, 4)),
        ("matrix", &Tensor::cat(&[matrix, matrix], 0)),
    ] {
        let error = stream().write(name, piece).unwrap_err();
        assert!(matches!(error, WeightsError::NotAsAnnounced { .. }), "{error}");
    }
    let mut short = stream();
    write(&mut short, "matrix", matrix, 7);
    let error = short.finish().unwrap_err().to_string();
    assert!(error.contains("`bias`") && error.contains("missing"), "{error}");
    let mut cut = stream();
    cut.write("matrix", &matrix.narrow(0, 0, 6)).unwrap();
    let error = cut.finish().unwrap_err().to_string();
    assert!(error.contains("`matrix`") && error.contains("last 1 rows"), "{error}");
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
}

fn gguf(path: &Path, metadata: &[(String, GgufValue)]) {
    let specs = [("plain", GgmlType::F16), ("blocks", GgmlType::Q8_0), ("norm", GgmlType::F32)];
    let shapes: [&[i64]; 3] = [&[3, 5], &[4, 64], &[5]];
    let specs: Vec<GgufTensorSpec> = specs
        .iter()
        .zip(shapes)
        .map(|(&(name, ggml_type), shape)| GgufTensorSpec {
            name: name.to_owned(),
            ggml_type,
            shape: shape.to_vec(),
        })
        .collect();
    let writer = GgufWriter::new(path, specs.clone(), metadata).unwrap();
    let mut stream = writer.stream().unwrap();
    for spec in &specs {
        write(&mut stream, &spec.name, &numbers(&spec.shape, spec.piece_kind()), 2);
    }
    stream.finish().unwrap();
    assert_eq!(std::fs::metadata(path).unwrap().len(), writer.num_bytes());
}

#[test]
fn a_gguf_file_reads_back_equal_and_its_blocks_to_half_a_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let key = |key: &str| key.to_owned();
    let metadata = vec![
        (key("count"), GgufValue::Unsigned(7)),
        (key("large"), GgufValue::Unsigned(1 << 40)),
        (key("below"), GgufValue::Signed(-3)),
        (key("eps"), GgufValue::Float(1e-5)),
        (key("yes"), GgufValue::Bool(true)),
        (key("name"), GgufValue::Text("ein Modell ▁".to_owned())),
        (key("tokens"), GgufValue::Array(GgufArray::Texts(vec![key("a"), key("")]))),
        (key("types"), GgufValue::Array(GgufArray::Integers(vec![1, -1]))),
        (key("scores"), GgufValue::Array(GgufArray::Floats(vec![0.5, -2.0]))),
    ];
    gguf(&path, &metadata);
    let file = GgufFile::open(&path).unwrap();
    assert_eq!(file.metadata().iter().count(), metadata.len());
    for (key, value) in &metadata {
        assert_eq!(file.metadata().get(key), Some(value));
    }
    assert_eq!(file.tensor("plain", None).unwrap(), numbers(&[3, 5], Kind::Half));
    assert_eq!(file.tensor("norm", None).unwrap(), numbers(&[5], Kind::Float));
    let (read, exact) = (file.tensor("blocks", None).unwrap(), numbers(&[4, 64], Kind::Float));
    let step = exact.abs().max().double_value(&[]) / 127.0;
    let largest = (read - &exact).abs().max().double_value(&[]);
    // Half a step, and the scale's own rounding to half precision (2^-11 of up to 127 steps).
    assert!(largest <= step * (0.5 + 127.0 / 2048.0) && largest > 0.1 * step, "{largest} of {step}");
}

#[test]
fn a_scale_beyond_half_precision_is_refused_with_its_tensor() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let spec = GgufTensorSpec {
        name: "blk.0.ffn_up.weight".to_owned(),
        ggml_type: GgmlType::Q8_0,
        shape: vec![2, 64],
    };
    for bad in [1e7, f64::NAN, f64::NEG_INFINITY] {
        let mut stream = GgufWriter::new(&path, vec![spec.clone()], &[]).unwrap().stream().unwrap();
        let tensor = numbers(&spec.shape, Kind::Float);
        let _ = tensor.get(1).get(40).fill_(bad);
        let text = stream.write(&spec.name, &tensor).unwrap_err().to_string();
        assert!(text.contains("`blk.0.ffn_up.weight`") && text.contains("Q8_0 cannot hold"), "{text}");
    }
    assert!(!path.exists());
}

#[test]
fn an_impossible_gguf_file_is_rejected_before_it_is_begun() {
    let path = Path::new("model.gguf");
    let spec = |ggml_type, row| GgufTensorSpec { name: "t".to_owned(), ggml_type, shape: vec![2, row] };
    for (specs, part) in [
        (vec![spec(GgmlType::Q8_0, 33)], "cannot read GGUF file"),
        (vec![spec(GgmlType::Q4_K, 256)], "Q4_K"),
        (vec![spec(GgmlType::F32, 1), spec(GgmlType::F32, 1)], "the name is taken"),
    ] {
        let error = GgufWriter::new(path, specs, &[]).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
