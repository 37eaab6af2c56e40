//! The kernels of the fused passes, in the emulator.

use tch::{Device, Kind, Tensor};

use super::emulator::Emulator;
use super::pass::Pass;
use super::pass_checks::{SHAPES, check_shape};
use super::pass_launches as launches;
use super::sources::{DROPOUT, FACTORS, RMS_NORM, ROTATE_HALF, SWIGLU};
use crate::cuda::{Launch, Source};
use crate::error::KernelError;
use crate::fused::{Dropout, LowRank, add_low_rank, rms_norm, rotate_both, swiglu};
use crate::reference;

const KINDS: [Kind; 3] = [Kind::Float, Kind::BFloat16, Kind::Half];

fn source_of(pass: Pass) -> &'static Source {
    match pass {
        Pass::RmsNorm => &RMS_NORM,
        Pass::RotateHalf => &ROTATE_HALF,
        Pass::SwiGlu => &SWIGLU,
        Pass::Dropout => &DROPOUT,
        Pass::Factors => &FACTORS,
    }
}

fn check_all(pass: Pass, emulator: &Emulator) -> Result<(), KernelError> {
    let run = |launch: &Launch<'_>| emulator.run(launch);
    let odd = [[1, 2, 1], [5, 50, 3]];
    for kind in KINDS {
        for shape in SHAPES.into_iter().chain(odd) {
            check_shape(pass, kind, shape, Device::Cpu, &run)?;
        }
    }
    Ok(())
}

#[test]
fn emulated_passes_equal_tensor_operations_for_every_kind_and_size() {
    for pass in Pass::ALL {
        let emulator = Emulator::new(source_of(pass));
        check_all(pass, &emulator).unwrap_or_else(|error| panic!("{pass:?}: {error}"));
    }
}

/// Makes changes each of which is a mistake that one can make, in every kernel.
#[test]
fn a_fused_pass_with_a_mistake_fails_its_check() {
    let mistakes = [
        (
            Pass::RmsNorm,
            "narrow(rounded<T>(widen(x.at[j]) * scale)",
            "narrow(rounded<T>(widen(x.at[0]) * scale)",
        ),
        (Pass::RmsNorm, "- widen(x.at[j]) * along", "+ widen(x.at[j]) * along"),
        (Pass::RmsNorm, "products = fmaf(widen(g.at[j]) * widen(w.at[j])", "products = fmaf(widen(g.at[j])"),
        (Pass::RotateHalf, "= turn * widen(s.at[j])", "= widen(s.at[j])"),
        (Pass::RotateHalf, "cos + token * step + feature", "cos + token * step"),
        (Pass::RotateHalf, "head - first_heads", "0"),
        (Pass::SwiGlu, "rounded<T>(x * sigmoid(x)) * widen(u.at[j])", "rounded<T>(x * sigmoid(x))"),
        (Pass::SwiGlu, "(1.0f + x * (1.0f - s))", "(1.0f + x * s)"),
        (
            Pass::SwiGlu,
            "at = packs * WIDE<T> + first_place(); at < len",
            "at = packs + first_place(); at <= len",
        ),
        (Pass::Dropout, "(at / width)", "(at / (width + 1))"),
        (Pass::Dropout, "(column + j)", "(column)"),
        (Pass::Factors, "b[at - a_len] * scale, both", "b[at - a_len], both"),
        (Pass::Factors, "widen(of_b[at - a_len]) * scale", "widen(of_b[at - a_len])"),
    ];
    for (pass, right, wrong) in mistakes {
        let source = source_of(pass);
        let text = source.text.replace(right, wrong);
        assert_ne!(text, source.text, "{right}");
        let emulator = Emulator::of_text(source, &text);
        assert!(check_all(pass, &emulator).is_err(), "{pass:?}: {wrong}");
    }
}

/// Conversions are libtorch's, bit for bit: ties, the least numbers, the largest, infinities.
#[test]
fn kernels_round_as_libtorch_does() {
    let near = Tensor::from_slice(&[
        0.0f32,
        -0.0,
        1.0,
        65504.0,
        65519.9,
        65520.0,
        1e9,
        5.96e-8,
        2.98e-8,
        2.99e-8,
        8.9e-8,
        6.1e-5,
        6.097e-5,
        1.0 + 1.0 / 2048.0,
        1.0 + 3.0 / 2048.0,
        1.0 + 1.0 / 256.0,
        1.0 + 3.0 / 256.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e-40,
        3.4e38,
    ]);
    let many = Tensor::arange_start_step(0x3700_0000i64, 0x4780_0000, 0x3_1234, (Kind::Int64, Device::Cpu));
    let many = many.to_kind(Kind::Int).view_dtype(Kind::Float);
    let a = Tensor::cat(&[near.shallow_clone(), -&near, many], 0);
    let one = Tensor::from_slice(&[1.0f32]);
    let emulator = Emulator::new(&FACTORS);
    for kind in [Kind::BFloat16, Kind::Half] {
        let both = Tensor::empty([a.numel() as i64 + 1], (kind, Device::Cpu));
        emulator.run(&launches::narrow_factors(&a, &one, 1.0, &both).unwrap()).unwrap();
        let expected = Tensor::cat(&[a.shallow_clone(), one.shallow_clone()], 0).to_kind(kind);
        assert_eq!(both, expected, "{kind:?}");
        let [back, last] = [both.narrow(0, 0, a.numel() as i64), both.narrow(0, a.numel() as i64, 1)];
        let (wide, scaled) = (a.empty_like(), one.empty_like());
        emulator.run(&launches::widen_factors(&back, &last, 1.0, &wide, &scaled).unwrap()).unwrap();
        assert_eq!(wide, back.to_kind(Kind::Float), "{kind:?}");
    }
}

/// The gradients of the kernels are those that libtorch derives from its own operations, in float64.
#[test]
fn emulated_gradients_equal_those_that_libtorch_derives_in_float64() {
    let double = |xs: &Tensor| xs.to_kind(Kind::Double);
    let leaf = |xs: &Tensor| double(xs).set_requires_grad(true);
    let numbers = |shape: &[i64], seed| super::numbers(shape, seed, Device::Cpu).unwrap();
    let near = |ours: &Tensor, exact: &Tensor| {
        let error = (double(ours) - exact).abs().max().double_value(&[]);
        assert!(error < 1e-5 * exact.abs().max().double_value(&[]), "{error}");
    };
    for [rows, width] in [[3, 20], [7, 13]] {
        let [xs, grad, up] = [41, 42, 43].map(|seed| numbers(&[rows, width], seed));
        let weight = numbers(&[width], 44);
        let emulator = Emulator::new(&RMS_NORM);
        let out = xs.empty_like();
        emulator.run(&launches::rms_norm_backward(&grad, &xs, &weight, 1e-3, &out).unwrap()).unwrap();
        let exact = leaf(&xs);
        let normed = exact.rms_norm([width], None::<&Tensor>, 1e-3) * double(&weight);
        (normed * double(&grad)).sum(Kind::Double).backward();
        near(&out, &exact.grad());

        let emulator = Emulator::new(&SWIGLU);
        let outs = [xs.empty_like(), xs.empty_like()];
        let launch = launches::swiglu_backward(&grad, &xs, &up, [&outs[0], &outs[1]]);
        emulator.run(&launch.unwrap()).unwrap();
        let (gate, other) = (leaf(&xs), leaf(&up));
        (gate.silu() * &other * double(&grad)).sum(Kind::Double).backward();
        near(&outs[0], &gate.grad());
        near(&outs[1], &other.grad());
    }
}

/// What does not lie as a kernel reads it has no launch.
#[test]
fn tensors_of_other_kinds_sizes_and_strides_have_no_launch() {
    let float = (Kind::Float, Device::Cpu);
    let (xs, weight) = (Tensor::ones([4, 8], float), Tensor::ones([8], float));
    assert!(launches::rms_norm(&xs, &weight, 1e-5, &xs).is_some());
    let across = Tensor::ones([8, 4], float).transpose(0, 1);
    assert!(launches::rms_norm(&across, &weight, 1e-5, &xs).is_none());
    assert!(launches::rms_norm(&xs, &weight.to_kind(Kind::BFloat16), 1e-5, &xs).is_none());
    assert!(launches::rms_norm(&xs, &Tensor::ones([7], float), 1e-5, &xs).is_none());
    assert!(launches::swiglu(&xs, &Tensor::ones([4, 7], float), &xs).is_none());
    let double = xs.to_kind(Kind::Double);
    assert!(launches::swiglu(&double, &double, &double).is_none());
    let empty = Tensor::ones([0, 8], float);
    assert!(launches::swiglu(&empty, &empty, &empty).is_none());
    let codes = reference::quantize8(&xs).unwrap().0;
    assert!(launches::narrow_factors(&codes, &xs, 1.0, &xs).is_none());
}

/// Results and gradients, by kernels on a GPU and by loops on the CPU.
#[test]
fn on_a_gpu_fused_passes_equal_those_of_the_cpu() {
    if !torch_ext::cuda::is_available() {
        eprintln!("skipped: on_a_gpu_fused_passes_equal_those_of_the_cpu needs a CUDA device");
        return;
    }
    for kind in KINDS {
        for pass in Pass::ALL {
            assert!(pass.is_usable(0, kind), "{pass:?} {kind:?}");
        }
        let [here, there] = [Device::Cpu, Device::Cuda(0)].map(|device| passes_on(device, kind));
        let tolerance = if kind == Kind::Float { 2e-5 } else { 2e-2 };
        for (index, (cpu, gpu)) in here.iter().zip(&there).enumerate() {
            let error = (cpu - gpu).abs().max().double_value(&[]);
            assert!(error <= tolerance * cpu.abs().max().double_value(&[]), "{kind:?} {index}: {error}");
        }
    }
}

/// Runs something like a layer forward and backward, and returns its results and gradients on the CPU.
fn passes_on(device: Device, kind: Kind) -> Vec<Tensor> {
    let leaf = |shape: &[i64], seed, kind| {
        let numbers = super::numbers(shape, seed, Device::Cpu).unwrap();
        numbers.to_kind(kind).to(device).set_requires_grad(true)
    };
    let (xs, base) = (leaf(&[5, 24], 51, kind), leaf(&[5, 40], 52, kind));
    let (a, b) = (leaf(&[3, 24], 53, Kind::Float), leaf(&[40, 3], 54, Kind::Float));
    let weight = leaf(&[24], 55, kind).detach();
    let angles = super::numbers(&[5, 1, 4], 56, device).unwrap();
    let (cos, sin) = (angles.cos().to_kind(kind), angles.sin().to_kind(kind));
    let normed = rms_norm(&xs, &weight, 1e-5).unwrap();
    let factors = LowRank { a: &a, b: &b, scale: 1.75 };
    let dropout = Some(Dropout { p: 0.25, seed: 9 });
    let adapted = add_low_rank(&base, &normed, factors, dropout).unwrap();
    let heads = [adapted.narrow(1, 0, 24).reshape([5, 3, 8]), adapted.narrow(1, 24, 16).reshape([5, 2, 8])];
    let [first, second] = rotate_both(&heads[0], &heads[1], &cos, &sin).unwrap();
    let gated = swiglu(&first.narrow(1, 0, 2).contiguous(), &second).unwrap();
    // Small enough for float16.
    let loss = (&gated * 0.01).square().sum(Kind::Float) + first.sum(Kind::Float);
    loss.backward();
    let results = [gated.detach(), xs.grad(), base.grad(), a.grad(), b.grad()];
    results.map(|xs| xs.to(Device::Cpu).to_kind(Kind::Double)).into()
}
