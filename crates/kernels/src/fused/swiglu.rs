//! The gate of the feed-forward block.
#![expect(clippy::inline_always, reason = "compiled for each width of vectors")]

use tch::{TchError, Tensor};
use torch_ext::custom_of;

use super::exponential::exp;
use super::gradient::as_torch;
use super::outputs::{both_filled, filled};
use super::passes::Passes;
use crate::element::{Float, LANES, filled_up, for_kind};
use crate::gpu::{self, Pass};
use crate::memory::elements;
use crate::widest::widest;

/// Computes `silu(gate) · up` (`SwiGLU`, Shazeer, 2020, arXiv 2002.05202), with `silu(x) = x / (1 + exp(-x))` rounded to the kind
/// of `gate` before it meets `up`, as transformers' `LlamaMLP` has it. Both of one shape, which is that of the result.
///
/// In one pass, and both gradients in another, on a CPU and on a GPU with kernels of ours; equal to libtorch's operations up to a
/// rounding of `exp`.
///
/// # Errors
/// libtorch's, when shapes do not fit.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor, TchError> {
    let passes = Passes::of(&[gate, up], &[Pass::SwiGlu]);
    if gate.size() != up.size() || passes == Passes::Operations {
        return by_operations(gate, up);
    }
    if !gate.requires_grad() && !up.requires_grad() {
        return forward(passes, gate, up);
    }
    custom_of(
        [(gate, true), (up, true)],
        move |inputs| forward(passes, &inputs[0], &inputs[1]),
        move |grad, inputs, _| Ok(backward(passes, &grad.f_contiguous()?, &inputs[0], &inputs[1])?.map(Some)),
    )
    .map_err(as_torch)
}

fn by_operations(gate: &Tensor, up: &Tensor) -> Result<Tensor, TchError> {
    gate.f_silu()?.f_mul(up)
}

fn forward(passes: Passes, gate: &Tensor, up: &Tensor) -> Result<Tensor, TchError> {
    if passes == Passes::Kernels {
        return gpu::swiglu(gate, up);
    }
    for_kind!(gate.kind(), gated(gate, up), by_operations(gate, up))
}

fn backward(passes: Passes, grad: &Tensor, gate: &Tensor, up: &Tensor) -> Result<[Tensor; 2], TchError> {
    if passes == Passes::Kernels {
        return gpu::swiglu_backward(grad, gate, up);
    }
    let other = || Err(TchError::Kind(format!("swiglu of {:?}", gate.kind())));
    for_kind!(gate.kind(), gradients(grad, gate, up), other())
}

fn gated<T: Float>(gate: &Tensor, up: &Tensor) -> Result<Tensor, TchError> {
    let (gates, ups) = (elements::<T>(gate), elements::<T>(up));
    filled::<T>(gate, LANES, |place, out| {
        let part = place..place + out.len();
        gate_part(&gates[part.clone()], &ups[part], out);
    })
}

fn gradients<T: Float>(grad: &Tensor, gate: &Tensor, up: &Tensor) -> Result<[Tensor; 2], TchError> {
    let (grads, gates, ups) = (elements::<T>(grad), elements::<T>(gate), elements::<T>(up));
    both_filled::<T>(gate, LANES, |place, of_gate, of_up| {
        let part = place..place + of_gate.len();
        let inputs = [&grads[part.clone()], &gates[part.clone()], &ups[part]];
        gradient_part(inputs, of_gate, of_up);
    })
}

widest! {
fn gate_part<T: Float>(gates: &[T], ups: &[T], out: &mut [T]) {
    let ((gates, gate), (ups, up)) = (gates.as_chunks(), ups.as_chunks());
    let (outs, out) = out.as_chunks_mut();
    for ((gate, up), out) in gates.iter().zip(ups).zip(outs) {
        *out = gate_lanes(gate, up);
    }
    out.copy_from_slice(&gate_lanes(&filled_up(gate), &filled_up(up))[..gate.len()]);
}
}

widest! {
fn gradient_part<T: Float>(inputs: [&[T]; 3], of_gate: &mut [T], of_up: &mut [T]) {
    let [(grads, grad), (gates, gate), (ups, up)] = inputs.map(<[T]>::as_chunks);
    let ((of_gates, of_gate), (of_ups, of_up)) = (of_gate.as_chunks_mut(), of_up.as_chunks_mut());
    let outs = of_gates.iter_mut().zip(of_ups);
    for (((grad, gate), up), (of_gate, of_up)) in grads.iter().zip(gates).zip(ups).zip(outs) {
        [*of_gate, *of_up] = gradient_lanes(grad, gate, up);
    }
    let rest = gradient_lanes(&filled_up(grad), &filled_up(gate), &filled_up(up));
    of_gate.copy_from_slice(&rest[0][..gate.len()]);
    of_up.copy_from_slice(&rest[1][..gate.len()]);
}
}

#[inline(always)]
fn gate_lanes<T: Float>(gate: &[T; LANES], up: &[T; LANES]) -> [T; LANES] {
    let (mut silu, up) = (T::widen_lanes(gate), T::widen_lanes(up));
    for x in &mut silu {
        *x *= sigmoid(*x);
    }
    let mut out = T::widen_lanes(&T::narrow_lanes(&silu));
    for (out, up) in out.iter_mut().zip(up) {
        *out *= up;
    }
    T::narrow_lanes(&out)
}

/// Computes the gradients of `gate` and `up`. With `σ = sigmoid(gate)`: `grad · up · σ · (1 + gate · (1 - σ))` and `grad · gate · σ`.
#[inline(always)]
fn gradient_lanes<T: Float>(grad: &[T; LANES], gate: &[T; LANES], up: &[T; LANES]) -> [[T; LANES]; 2] {
    let (grad, gate, up) = (T::widen_lanes(grad), T::widen_lanes(gate), T::widen_lanes(up));
    let (mut of_gate, mut of_up) = ([0f32; LANES], [0f32; LANES]);
    for lane in 0..LANES {
        let sigmoid = sigmoid(gate[lane]);
        of_gate[lane] = grad[lane] * up[lane] * sigmoid * (1.0 + gate[lane] * (1.0 - sigmoid));
        of_up[lane] = grad[lane] * gate[lane] * sigmoid;
    }
    [T::narrow_lanes(&of_gate), T::narrow_lanes(&of_up)]
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn random(shape: &[i64], kind: Kind) -> Tensor {
        (Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 3).to_kind(kind)
    }

    #[test]
    fn one_pass_equals_libtorchs_operations_for_every_kind_and_length() {
        tch::manual_seed(3);
        for (kind, tolerance) in [(Kind::Float, 1e-6), (Kind::BFloat16, 1.6e-2), (Kind::Half, 2e-3)] {
            for shape in [&[1i64, 1536][..], &[3, 7], &[0, 4], &[300, 77]] {
                let (gate, up) = (random(shape, kind), random(shape, kind));
                let (ours, reference) = (swiglu(&gate, &up).unwrap(), by_operations(&gate, &up).unwrap());
                assert_eq!((ours.size(), ours.kind()), (reference.size(), kind));
                let error = (&ours - &reference).abs() / (reference.abs() + 1e-3);
                let worst = if error.numel() == 0 { 0.0 } else { error.max().double_value(&[]) };
                assert!(worst <= tolerance, "{kind:?} {shape:?}: {worst}");
            }
        }
    }

    #[test]
    fn both_gradients_equal_those_of_the_operations_in_float64() {
        tch::manual_seed(4);
        for (kind, tolerance) in [(Kind::Float, 1e-6), (Kind::BFloat16, 8e-3), (Kind::Half, 1e-3)] {
            for shape in [[1i64, 5], [33, 77], [300, 64]] {
                let inputs =
                    [random(&shape, kind), random(&shape, kind)].map(|xs| xs.set_requires_grad(true));
                let grad = random(&shape, kind);
                (swiglu(&inputs[0], &inputs[1]).unwrap() * &grad).sum(Kind::Float).backward();
                let double = |xs: &Tensor| xs.detach().to_kind(Kind::Double);
                let exact = [&inputs[0], &inputs[1]].map(|xs| double(xs).set_requires_grad(true));
                (exact[0].silu() * &exact[1] * double(&grad)).sum(Kind::Double).backward();
                for (ours, exact) in inputs.iter().zip(&exact) {
                    let error = (double(&ours.grad()) - exact.grad()).abs().max().double_value(&[]);
                    let size = exact.grad().abs().max().double_value(&[]);
                    assert!(error <= tolerance * size, "{kind:?} {shape:?}: {error} of {size}");
                }
            }
        }
    }
}
