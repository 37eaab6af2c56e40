//! A quantised layer computes what a dense one with its dequantised weight does, forwards and backwards.

use nn_core::{LinearOp, Mode};
use qlora_nf4::{QuantLinear, QuantWeight, Quantization, dequantized_bytes, reset_dequantized_peak};
use tch::{Device, Kind, Tensor};

/// Float32 sums of up to a thousand terms of about one, in another order.
const TOLERANCE: f64 = 2e-4;
/// Bfloat16 has 8 bits: half a step of the result, and of each weight and input.
const BFLOAT16: f64 = 3e-2;

fn check(weight: Box<dyn QuantWeight>, rows: i64, kind: Kind, tolerance: f64) {
    let what = format!("{weight:?} {rows} {kind:?}").chars().take(80).collect::<String>();
    let dense = weight.dequantize(kind).unwrap();
    let bias = Tensor::randn([weight.out_features()], (kind, Device::Cpu));
    let layer = QuantLinear::new(weight, Some(bias.shallow_clone()));
    let xs = Tensor::randn([rows, layer.in_features()], (Kind::Float, Device::Cpu)).to_kind(kind);
    let expected = xs.to_kind(Kind::Float).matmul(&dense.to_kind(Kind::Float).tr()) + &bias;
    let size = expected.abs().max().double_value(&[]);
    let off = |ys: &Tensor, expected: &Tensor| (ys - expected).abs().max().double_value(&[]);
    // Without a graph, as in generation.
    let ys = layer.forward(&xs, Mode::Eval).unwrap();
    assert_eq!((ys.kind(), ys.size()), (kind, expected.size()), "{what}");
    assert!(off(&ys, &expected) < tolerance * size, "{what}: {}", off(&ys, &expected));
    // With one, and two leading dimensions.
    let inputs = xs.view([rows, 1, -1]).set_requires_grad(true);
    let ys = layer.forward(&inputs, Mode::Train { seed: 0 }).unwrap();
    assert!(off(&ys.view_as(&expected), &expected) < tolerance * size, "{what}");
    let upstream = Tensor::randn(ys.size(), (Kind::Float, Device::Cpu)).to_kind(kind);
    (&ys * &upstream).sum(Kind::Float).backward();
    let flat = upstream.view([rows, -1]).to_kind(Kind::Float);
    let expected = flat.matmul(&dense.to_kind(Kind::Float));
    let size = expected.abs().max().double_value(&[]);
    assert!(off(&inputs.grad().view_as(&expected), &expected) < tolerance * size, "{what}: gradient");
    let again = layer.dense_weight(kind).unwrap();
    assert_eq!(again, dense, "{what}");
}

/// Every scheme, with double quantisation and with other blocks where it has them.
fn quantizations() -> Vec<Quantization> {
    let all = Quantization::all();
    let blocks = all.iter().filter(|quantization| quantization.has_blocks() && !quantization.double_quant());
    let other = blocks.map(|quantization| quantization.with_block_size(32).unwrap());
    other.chain(all.iter().copied()).collect()
}

#[test]
fn quantised_layers_equal_dense_ones_with_their_weights() {
    tch::manual_seed(2);
    for (outputs, inputs) in [(48, 256), (33, 128), (20, 72), (9, 33)] {
        let weight = Tensor::randn([outputs, inputs], (Kind::Float, Device::Cpu)) * 0.1;
        for rows in [1, 3, 8, 19] {
            for (kind, tolerance) in [(Kind::Float, TOLERANCE), (Kind::BFloat16, BFLOAT16)] {
                for quantization in quantizations() {
                    check(quantization.quantize(&weight).unwrap(), rows, kind, tolerance);
                }
            }
        }
    }
}

#[test]
fn large_weights_are_dequantised_tile_by_tile() {
    tch::manual_seed(3);
    // 16 MiB in float32, four tiles.
    let weight = Tensor::randn([2048, 2048], (Kind::Float, Device::Cpu)) * 0.02;
    let nf4 = "nf4".parse::<Quantization>().unwrap().with_double_quant(true).unwrap();
    let quantized = nf4.quantize(&weight).unwrap();
    reset_dequantized_peak();
    check_once(&*quantized);
    let bytes = dequantized_bytes();
    let whole = 2048 * 2048 * 4;
    assert!(bytes.peak > 0 && bytes.peak <= whole / 2, "{bytes:?}");
}

fn check_once(weight: &dyn QuantWeight) {
    let dense = weight.dequantize(Kind::Float).unwrap();
    let layer = QuantLinear::new(weight.share(), None);
    let xs = Tensor::randn([24, 2048], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let ys = layer.forward(&xs, Mode::Eval).unwrap();
    // Between the passes nothing is dequantised.
    let expected = xs.detach().matmul(&dense.tr());
    assert!((&ys - expected).abs().max().double_value(&[]) < TOLERANCE * 10.0);
    ys.sum(Kind::Float).backward();
    let expected = Tensor::ones([24, 2048], (Kind::Float, Device::Cpu)).matmul(&dense);
    assert!((xs.grad() - expected).abs().max().double_value(&[]) < TOLERANCE * 10.0);
}
