//! Checks of the fused passes' kernels against tensor operations in float32.

use tch::{Device, Kind, TchError, Tensor};

use super::checks::{Guarded, Run, launch, numbers, within};
use super::pass::Pass;
use super::pass_launches as launches;
use crate::error::KernelError;
use crate::fused::Dropout;

/// Few and many numbers, in whole packs and not: rows, their width, and another number.
pub(super) const SHAPES: [[i64; 3]; 3] = [[3, 264, 5], [37, 22, 1], [2, 4096, 2]];

/// Largest error as a part of the largest expected number: two roundings to the kind.
fn tolerance(kind: Kind) -> f64 {
    match kind {
        Kind::BFloat16 => 1.0 / 128.0,
        Kind::Half => 1.0 / 1024.0,
        _ => 1e-5,
    }
}

/// Checks both passes of `pass` in a kind.
pub(super) fn check(pass: Pass, kind: Kind, device: Device, run: &Run<'_>) -> Result<(), KernelError> {
    SHAPES.into_iter().try_for_each(|shape| check_shape(pass, kind, shape, device, run))
}

/// Checks them in one shape.
pub(super) fn check_shape(
    pass: Pass,
    kind: Kind,
    shape: [i64; 3],
    device: Device,
    run: &Run<'_>,
) -> Result<(), KernelError> {
    let at = At { kind, device, run };
    match pass {
        Pass::RmsNorm => at.norms(shape),
        Pass::RotateHalf => at.rotates(shape),
        Pass::SwiGlu => at.gates(shape),
        Pass::Dropout => at.drops(shape),
        Pass::Factors => at.converts(shape),
    }
}

/// Kind and place of a check.
struct At<'r> {
    kind: Kind,
    device: Device,
    run: &'r Run<'r>,
}

impl At<'_> {
    /// Makes numbers of the kind.
    fn numbers(&self, shape: &[i64], seed: u32) -> Result<Tensor, TchError> {
        numbers(shape, seed, self.device)?.f_to_kind(self.kind)
    }

    fn room(&self, shape: &[i64]) -> Result<Guarded, TchError> {
        Guarded::new(shape, self.kind, self.device)
    }

    /// Checks what a launch left in `out`.
    fn gave(&self, kernel: &'static str, out: &Guarded, expected: &Tensor) -> Result<(), KernelError> {
        out.check(kernel)?;
        within(kernel, &out.part, expected, tolerance(self.kind))
    }

    fn norms(&self, [rows, width, _]: [i64; 3]) -> Result<(), KernelError> {
        const EPS: f64 = 1e-2;
        let (xs, grad) = (self.numbers(&[rows, width], 21)?, self.numbers(&[rows, width], 22)?);
        let weight = self.numbers(&[width], 23)?;
        let [x, g, w] = [float(&xs)?, float(&grad)?, float(&weight)?];
        let mean = |xs: &Tensor| xs.f_mean_dim(-1i64, true, Kind::Float);
        let scale = (mean(&x.f_square()?)?
            .f_add(&Tensor::f_from_slice(&[EPS as f32])?.f_to(self.device)?)?)
        .f_rsqrt()?; // [rows, 1]
        let normed = x.f_mul(&scale)?;

        let out = self.room(&[rows, width])?;
        launch(launches::rms_norm(&xs, &weight, EPS, &out.part), "rms_norm", self.run)?;
        self.gave("rms_norm", &out, &normed.f_mul(&w)?)?;

        let g = g.f_mul(&w)?;
        let expected = g.f_sub(&normed.f_mul(&mean(&g.f_mul(&normed)?)?)?)?.f_mul(&scale)?;
        let out = self.room(&[rows, width])?;
        let launched = launches::rms_norm_backward(&grad, &xs, &weight, EPS, &out.part);
        launch(launched, "rms_norm_backward", self.run)?;
        self.gave("rms_norm_backward", &out, &expected)
    }

    fn rotates(&self, [tokens, width, heads]: [i64; 3]) -> Result<(), KernelError> {
        let half = width / 2;
        let sizes = [heads, heads + 1].map(|heads| [tokens, heads, 2 * half]);
        let inputs = [self.numbers(&sizes[0], 24)?, self.numbers(&sizes[1], 25)?];
        for (turns, back) in [(tokens, false), (tokens, true), (1, false)] {
            let angles = numbers(&[turns, 1, half], 26, self.device)?;
            let [cos, sin] = [angles.f_cos()?, angles.f_sin()?].map(|xs| xs.f_to_kind(self.kind));
            let (cos, sin) = (cos?, sin?);
            let outs = [self.room(&sizes[0])?, self.room(&sizes[1])?];
            let places = [&outs[0].part, &outs[1].part];
            let launched = launches::rotate_half([&inputs[0], &inputs[1]], [&cos, &sin], back, places);
            launch(launched, "rotate_half", self.run)?;
            let (c, s) = (float(&cos)?, if back { float(&sin)?.f_neg()? } else { float(&sin)? });
            for (xs, out) in inputs.iter().zip(&outs) {
                let xs = float(xs)?;
                let (first, second) = (xs.f_narrow(-1, 0, half)?, xs.f_narrow(-1, half, half)?);
                let left = first.f_mul(&c)?.f_sub(&second.f_mul(&s)?)?;
                let right = second.f_mul(&c)?.f_add(&first.f_mul(&s)?)?;
                self.gave("rotate_half", out, &Tensor::f_cat(&[left, right], -1)?)?;
            }
        }
        Ok(())
    }

    fn gates(&self, shape: [i64; 3]) -> Result<(), KernelError> {
        let shape = [shape[0], shape[1]];
        let [gate, up, grad] = [27, 28, 29].map(|seed| self.numbers(&shape, seed));
        let (gate, up, grad) = (gate?, up?, grad?);
        let [x, u, d] = [float(&gate)?, float(&up)?, float(&grad)?];
        let (sigmoid, silu) = (x.f_sigmoid()?, x.f_silu()?);

        let out = self.room(&shape)?;
        launch(launches::swiglu(&gate, &up, &out.part), "swiglu", self.run)?;
        self.gave("swiglu", &out, &silu.f_mul(&u)?)?;

        // The derivative of silu is σ + silu - silu σ.
        let slope = sigmoid.f_add(&silu)?.f_sub(&silu.f_mul(&sigmoid)?)?;
        let outs = [self.room(&shape)?, self.room(&shape)?];
        let launched = launches::swiglu_backward(&grad, &gate, &up, [&outs[0].part, &outs[1].part]);
        launch(launched, "swiglu_backward", self.run)?;
        self.gave("swiglu_backward", &outs[0], &d.f_mul(&u)?.f_mul(&slope)?)?;
        self.gave("swiglu_backward", &outs[1], &d.f_mul(&silu)?)
    }

    /// Checks for the bits that the loops for a CPU give.
    fn drops(&self, shape: [i64; 3]) -> Result<(), KernelError> {
        let shape = [shape[0], shape[1]];
        for dropout in [Dropout { p: 0.3, seed: 0x9234_5678_9abc_def1 }, Dropout { p: 0.75, seed: 5 }] {
            let xs = self.numbers(&shape, 30)?;
            let expected = dropout.apply(&xs.f_to(Device::Cpu)?)?.f_to(self.device)?;
            let out = self.room(&shape)?;
            launch(launches::dropout(&xs, dropout, &out.part), "dropout", self.run)?;
            out.check("dropout")?;
            within("dropout", &out.part, &expected, 0.0)?;
        }
        Ok(())
    }

    fn converts(&self, [rank, width, out_width]: [i64; 3]) -> Result<(), KernelError> {
        const SCALE: f64 = 1.75;
        let scaled = |xs: &Tensor| xs.f_mul(&Tensor::f_from_slice(&[SCALE as f32])?.f_to(self.device)?);
        let shapes = [[rank, width], [out_width, rank]];
        let [a_len, b_len] = shapes.map(|shape| shape[0] * shape[1]);
        let [a, b] =
            [(31, shapes[0]), (32, shapes[1])].map(|(seed, shape)| numbers(&shape, seed, self.device));
        let (a, b) = (a?, b?);
        let both = self.room(&[a_len + b_len])?;
        launch(launches::narrow_factors(&a, &b, SCALE, &both.part), "narrow_factors", self.run)?;
        let flat = |xs: &Tensor| xs.f_view([-1i64]);
        let expected = Tensor::f_cat(&[flat(&a)?, flat(&scaled(&b)?)?], 0)?.f_to_kind(self.kind)?;
        both.check("narrow_factors")?;
        within("narrow_factors", &both.part, &expected, 0.0)?;

        let (of_a, of_b) = (self.numbers(&shapes[0], 33)?, self.numbers(&shapes[1], 34)?);
        let outs = shapes.map(|shape| Guarded::new(&shape, Kind::Float, self.device));
        let [a, b] = outs;
        let (a, b) = (a?, b?);
        let launched = launches::widen_factors(&of_a, &of_b, SCALE, &a.part, &b.part);
        launch(launched, "widen_factors", self.run)?;
        for (out, expected) in [(&a, float(&of_a)?), (&b, scaled(&float(&of_b)?)?)] {
            out.check("widen_factors")?;
            within("widen_factors", &out.part, &expected, 0.0)?;
        }
        Ok(())
    }
}

fn float(xs: &Tensor) -> Result<Tensor, TchError> {
    xs.f_to_kind(Kind::Float)
}
