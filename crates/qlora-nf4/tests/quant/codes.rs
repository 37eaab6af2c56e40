//! Codes, scales and values are those of bitsandbytes (`goldens/make.py`).

use std::collections::BTreeMap;
use std::path::Path;

use qlora_nf4::{QuantError, QuantWeight, Quantization};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use weights::TensorStore;

#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Case>,
    int8: Vec<String>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    weight: String,
    code: String,
    block_size: usize,
    double: bool,
    offset: Option<f64>,
}

fn goldens() -> (TensorStore, Goldens) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let json = std::fs::read(dir.join("codes.json")).unwrap();
    let store = TensorStore::open_file(&dir.join("codes.safetensors")).unwrap();
    (store, serde_json::from_slice(&json).unwrap())
}

/// Equal, NaN counted as equal to NaN.
fn same(a: &Tensor, b: &Tensor) -> bool {
    let (a, b) = (a.to_kind(Kind::Double).reshape([-1]), b.to_kind(Kind::Double).reshape([-1]));
    a.size() == b.size()
        && (a.eq_tensor(&b).logical_or(&a.isnan().logical_and(&b.isnan()))).all().int64_value(&[]) == 1
}

/// [`same`] on x86-64, where the goldens were made. Elsewhere libtorch adds the mean of the scales up in another order,
/// and what depends on it may round to the next number of `kind`.
fn same_mean(a: &Tensor, b: &Tensor, kind: Kind) -> bool {
    let step = match kind {
        _ if cfg!(target_arch = "x86_64") => return same(a, b),
        Kind::BFloat16 => 2f64.powi(-7),
        Kind::Half => 2f64.powi(-10),
        _ => 1e-6,
    };
    let (a, b) = (a.to_kind(Kind::Double).reshape([-1]), b.to_kind(Kind::Double).reshape([-1]));
    a.allclose(&b, step, 0.0, true)
}

/// The parts of a weight `w`, by the ends of their names.
fn parts(weight: &dyn QuantWeight) -> BTreeMap<String, Tensor> {
    let parts = weight.parts("w.weight").unwrap();
    parts
        .into_iter()
        .map(|(name, part)| {
            let end = name.strip_prefix("w.weight.").or(name.strip_prefix("w.")).unwrap();
            (end.split('.').next().unwrap().to_owned(), part)
        })
        .collect()
}

#[test]
fn four_bit_codes_scales_and_values_equal_bitsandbytes() {
    let (store, goldens) = goldens();
    for case in goldens.cases {
        let golden = |part: &str| store.tensor(&format!("{}.{part}", case.name)).unwrap();
        let weight = store.tensor(&format!("{}.weight", case.weight)).unwrap();
        let quantization: Quantization = case.code.parse().unwrap();
        let quantization = quantization.with_block_size(case.block_size).unwrap();
        let quantization = quantization.with_double_quant(case.double).unwrap();
        let ours = quantization.quantize(&weight).unwrap();
        let parts = parts(&*ours);
        assert_eq!(parts["weight"].size(), golden("packed").size(), "{}", case.name);
        assert!(same(&parts["weight"], &golden("packed")), "{}: codes", case.name);
        assert!(same(&parts["absmax"], &golden("absmax")), "{}: scales", case.name);
        if case.double {
            let state = Vec::<u8>::try_from(&parts["quant_state"]).unwrap();
            let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
            let (ours, theirs) =
                (state["nested_offset"].as_f64().unwrap() as f32, case.offset.unwrap() as f32);
            let (ours, theirs) = (Tensor::from_slice(&[ours]), Tensor::from_slice(&[theirs]));
            assert!(same_mean(&ours, &theirs, Kind::Float), "{}: offset", case.name);
            let (ours, theirs) = (&parts["nested_absmax"], golden("nested_absmax"));
            assert!(same_mean(ours, &theirs, Kind::Float), "{}: nested scales", case.name);
            assert!(same(&parts["nested_quant_map"], &store.tensor("nested_map").unwrap()), "the signed map");
        }
        let mut values = ours.dequantize(weight.kind()).unwrap();
        if case.weight == "many" {
            values = values.slice(1, None, None, 64);
        }
        let equal = if case.double {
            same_mean(&values, &golden("values"), weight.kind())
        } else {
            same(&values, &golden("values"))
        };
        assert!(equal, "{}: values", case.name);
        assert_eq!(ours.is_finite().unwrap(), case.weight != "edge", "{}", case.name);
    }
    let unsigned = Tensor::from_slice(kernels::dynamic8::map(false));
    assert!(same(&unsigned, &store.tensor("unsigned_map").unwrap()));
}

#[test]
fn eight_bit_codes_values_and_products_equal_bitsandbytes() {
    let (store, goldens) = goldens();
    let int8: Quantization = "int8".parse().unwrap();
    for name in goldens.int8 {
        let golden = |part: &str| store.tensor(&format!("{name}.int8.{part}")).unwrap();
        let ours = int8.quantize(&store.tensor(&format!("{name}.weight")).unwrap()).unwrap();
        let parts = parts(&*ours);
        assert!(same(&parts["weight"], &golden("codes")), "{name}");
        assert!(same(&parts["SCB"], &golden("scales")), "{name}");
        let values = ours.dequantize(Kind::Float).unwrap();
        let off = (&values - golden("values")).abs().max().double_value(&[]);
        assert!(off < 1e-6, "{name}: {off}"); // one multiplies by 1/127, the other divides
        let xs = golden("xs").to_kind(Kind::Float);
        let product = llm_int8(&parts["weight"], &parts["SCB"], &xs);
        let off = (&product - golden("product")).abs().max().double_value(&[]);
        assert!(off < 1e-3 * golden("product").abs().max().double_value(&[]), "{name}: {off}");
    }
}

/// The product as `LLM.int8()` takes it: inputs quantised row by row, columns with an outlier apart. Follows bitsandbytes'
/// default backend (`backends/default/ops.py`). Layers leave inputs exact, as bitsandbytes' `MatMul8bitFp` does, which is
/// nearer to the dense product.
fn llm_int8(codes: &Tensor, absmax: &Tensor, xs: &Tensor) -> Tensor {
    let half = xs.to_kind(Kind::Half);
    let outliers = half.abs().ge(6.0);
    let columns = outliers.any_dim(0, false).nonzero().reshape([-1]);
    let inner = half.masked_fill(&outliers, 0.0);
    let stats = inner.abs().amax([1i64].as_slice(), true).to_kind(Kind::Float); // [rows, 1]
    let rounded = (inner * (stats.reciprocal() * 127.0)).round().nan_to_num(0.0, 0.0, 0.0);
    let rounded = rounded.index_fill(1, &columns, 0.0);
    // Sums of products of 8-bit numbers are whole, and exact in float64.
    let whole = rounded.to_kind(Kind::Double).matmul(&codes.to_kind(Kind::Double).tr()).to_kind(Kind::Float);
    let product = whole * (stats * absmax.unsqueeze(0)) * 6.200_124e-5;
    let weight = codes.index_select(1, &columns).to_kind(Kind::Float) * (absmax / 127.0).unsqueeze(1);
    product.addmm(&xs.index_select(1, &columns), &weight.tr())
}

#[test]
fn zeros_come_back_as_zeros_in_every_scheme() {
    for shape in [vec![3i64, 64], vec![5, 7], vec![1, 1]] {
        let zeros = Tensor::zeros(shape.as_slice(), (Kind::Float, Device::Cpu));
        for quantization in Quantization::all() {
            let ours = quantization.quantize(&zeros).unwrap();
            assert_eq!(ours.dequantize(Kind::Float).unwrap(), zeros, "{quantization}");
        }
    }
}

#[test]
fn weights_that_cannot_be_quantised_are_rejected() {
    let whole = Tensor::zeros([4, 64], (Kind::Int64, Device::Cpu));
    for quantization in Quantization::all() {
        let error = quantization.quantize(&whole).unwrap_err();
        assert!(matches!(error, QuantError::Kind { actual: Kind::Int64 }), "{error}");
    }
    let int8: Quantization = "int8".parse().unwrap();
    let flat = Tensor::zeros([256], (Kind::Float, Device::Cpu));
    assert!(matches!(int8.quantize(&flat), Err(QuantError::NotAMatrix { .. })));
}
