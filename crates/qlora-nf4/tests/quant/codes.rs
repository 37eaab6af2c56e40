//! Codes, scales and values are those of bitsandbytes (`goldens/make.py`).

use std::path::Path;

use qlora_nf4::{Absmax, Code4, Config4, OUTLIER_THRESHOLD, QuantError, Tensor4, Tensor8};
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
    code: Code4,
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

#[test]
fn four_bit_codes_scales_and_values_are_bitsandbytes() {
    let (store, goldens) = goldens();
    for case in goldens.cases {
        let golden = |part: &str| store.tensor(&format!("{}.{part}", case.name)).unwrap();
        let weight = store.tensor(&format!("{}.weight", case.weight)).unwrap();
        let config = Config4 { code: case.code, block_size: case.block_size, double_quant: case.double };
        let ours = Tensor4::quantize(&weight, config).unwrap();
        assert_eq!(ours.packed().size(), golden("packed").size(), "{}", case.name);
        assert!(same(ours.packed(), &golden("packed")), "{}: codes", case.name);
        match ours.absmax() {
            Absmax::Plain(scales) => assert!(same(scales, &golden("absmax")), "{}: scales", case.name),
            Absmax::Nested { codes, absmax, map, offset } => {
                let (ours, theirs) = (*offset, case.offset.unwrap() as f32);
                let (ours, theirs) = (Tensor::from_slice(&[ours]), Tensor::from_slice(&[theirs]));
                assert!(same_mean(&ours, &theirs, Kind::Float), "{}: offset", case.name);
                assert!(same(codes, &golden("absmax")), "{}: nested codes", case.name);
                assert!(
                    same_mean(absmax, &golden("nested_absmax"), Kind::Float),
                    "{}: nested scales",
                    case.name
                );
                assert!(same(map, &store.tensor("nested_map").unwrap()), "the signed map");
            }
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
    let unsigned = Tensor::from_slice(torch_ext::dynamic8::map(false));
    assert!(same(&unsigned, &store.tensor("unsigned_map").unwrap()));
}

#[test]
fn eight_bit_codes_values_and_products_are_bitsandbytes() {
    let (store, goldens) = goldens();
    for name in goldens.int8 {
        let golden = |part: &str| store.tensor(&format!("{name}.int8.{part}")).unwrap();
        let ours = Tensor8::quantize(&store.tensor(&format!("{name}.weight")).unwrap()).unwrap();
        assert!(same(ours.codes(), &golden("codes")), "{name}");
        assert!(same(ours.absmax(), &golden("scales")), "{name}");
        let values = ours.dequantize(Kind::Float).unwrap();
        let off = (&values - golden("values")).abs().max().double_value(&[]);
        assert!(off < 1e-6, "{name}: {off}"); // one multiplies by 1/127, the other divides
        let xs = golden("xs").to_kind(Kind::Float);
        let product = ours.product_llm_int8(&xs, OUTLIER_THRESHOLD).unwrap();
        let off = (&product - golden("product")).abs().max().double_value(&[]);
        assert!(off < 1e-3 * golden("product").abs().max().double_value(&[]), "{name}: {off}");
    }
}

#[test]
fn zeros_come_back_as_zeros_whatever_the_codec() {
    for shape in [vec![3i64, 64], vec![5, 7], vec![1, 1]] {
        let zeros = Tensor::zeros(shape.as_slice(), (Kind::Float, Device::Cpu));
        for code in [Code4::Nf4, Code4::Fp4] {
            for double in [false, true] {
                let ours = Tensor4::quantize(&zeros, Config4::new(code, double)).unwrap();
                assert_eq!(ours.dequantize(Kind::Float).unwrap(), zeros);
            }
        }
        assert_eq!(Tensor8::quantize(&zeros).unwrap().dequantize(Kind::Float).unwrap(), zeros);
    }
}

#[test]
fn a_weight_that_cannot_be_quantised_is_refused() {
    let whole = Tensor::zeros([4, 64], (Kind::Int64, Device::Cpu));
    let config = Config4::new(Code4::Nf4, false);
    assert!(matches!(Tensor4::quantize(&whole, config), Err(QuantError::Kind { actual: Kind::Int64 })));
    let weight = Tensor::zeros([4, 64], (Kind::Float, Device::Cpu));
    let config = Config4 { block_size: 48, ..config };
    assert!(matches!(Tensor4::quantize(&weight, config), Err(QuantError::BlockSize { actual: 48 })));
    assert!(matches!(Tensor8::quantize(&weight.view([-1])), Err(QuantError::NotAMatrix { .. })));
}
