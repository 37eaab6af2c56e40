//! The adapter between two checkpoints.

use lora::AdapterLayer;
use nn_core::{ModulePath, TorchContext, name_seed};
use tch::{Device, Kind, Tensor};
use torch_ext::Generator;

use crate::error::MergeError;

/// Columns beyond the rank that the search for the range carries along.
const OVERSAMPLING: i64 = 16;
/// Times the range is refined.
const POWER_ITERATIONS: usize = 4;
/// Up to this smaller dimension the decomposition is exact.
const EXACT_UP_TO: i64 = 1024;

/// The adapter of one layer.
#[derive(Debug)]
pub struct Extracted {
    /// Its factors, float32.
    pub layer: AdapterLayer,
    /// Frobenius norm of the difference.
    pub delta_norm: f64,
    /// Frobenius norm of what rank `r` cannot hold.
    pub residual_norm: f64,
}

/// Computes the factors of rank `r` with `scale · B A` nearest to `merged - base` (Eckart and Young, 1936); `None` when the two
/// are equal. The singular values are shared evenly by both factors. Matrices whose smaller side is above 1024 are decomposed
/// in a range found at random (Halko, Martinsson and Tropp, 2011, arXiv 0909.4061, algorithm 4.4), from a seed that the name
/// determines.
///
/// `name`: of the weight, such as `model.layers.0.self_attn.q_proj.weight`; `base`, `merged`: `[out, in]`, of any kind.
///
/// # Errors
/// [`MergeError::NotFinite`] when a weight is no number, [`MergeError::Value`] when `r` is more than the matrix has.
pub fn unmerge(
    name: &str,
    base: &Tensor,
    merged: &Tensor,
    r: i64,
    scale: f64,
) -> Result<Option<Extracted>, MergeError> {
    let float = |xs: &Tensor| xs.f_to_kind(Kind::Float).op("to_kind");
    let delta = float(merged)?.f_sub(&float(base)?).op("sub")?;
    let delta_norm = norm(&delta)?;
    if !delta_norm.is_finite() {
        let (name, place) = (name.to_owned(), "in one of the checkpoints".to_owned());
        return Err(MergeError::NotFinite { name, place });
    }
    if delta_norm == 0.0 {
        return Ok(None);
    }
    let smaller = delta.size().into_iter().min().unwrap_or_default();
    if r > smaller {
        let expected = format!("`{name}` has at most rank {smaller}");
        return Err(MergeError::Value { field: "r", actual: r.to_string(), expected });
    }
    let (u, s, vh) =
        if smaller <= EXACT_UP_TO { svd(&delta)? } else { near_svd(name, &delta, r + OVERSAMPLING)? };
    let root = s.f_narrow(0, 0, r).op("narrow")?.f_sqrt().op("sqrt")?;
    let a = vh.f_narrow(0, 0, r).op("narrow")?.f_mul(&root.f_unsqueeze(1).op("unsqueeze")?).op("mul")?;
    let b = u.f_narrow(1, 0, r).op("narrow")?.f_mul(&root).op("mul")?.f_div_scalar(scale).op("div")?;
    let path = ModulePath::new(name.strip_suffix(".weight").unwrap_or(name));
    let (a, b) = (a.f_contiguous().op("contiguous")?, b.f_contiguous().op("contiguous")?);
    let layer = AdapterLayer::low_rank(path, a, b, scale);
    let residual_norm = norm(&delta.f_sub(&layer.delta_weight(base)?).op("sub")?)?;
    Ok(Some(Extracted { layer, delta_norm, residual_norm }))
}

fn norm(xs: &Tensor) -> Result<f64, MergeError> {
    Ok(xs.f_norm().op("norm")?.double_value(&[]))
}

/// Computes `(U, S, Vᵀ)` of `xs`, as small as they can be.
fn svd(xs: &Tensor) -> Result<(Tensor, Tensor, Tensor), MergeError> {
    let (u, s, v) = xs.f_svd(true, true).op("svd")?;
    Ok((u, s, v.f_tr().op("tr")?))
}

/// Computes the largest `rank` singular values and vectors, nearly.
fn near_svd(name: &str, xs: &Tensor, rank: i64) -> Result<(Tensor, Tensor, Tensor), MergeError> {
    let (rows, columns) = (xs.size()[0], xs.size()[1]);
    let rank = rank.min(rows).min(columns);
    let mut probe = Tensor::f_empty([columns, rank], (Kind::Float, Device::Cpu)).op("empty")?;
    let mut generator = Generator::new(Device::Cpu, name_seed(0, name) >> 1).op("generator")?;
    generator.normal_(&mut probe, 0.0, 1.0).op("normal_")?;
    let basis =
        |xs: &Tensor| -> Result<Tensor, MergeError> { Ok(Tensor::f_linalg_qr(xs, "reduced").op("qr")?.0) };
    let transposed = xs.f_tr().op("tr")?;
    let mut range = basis(&xs.f_matmul(&probe).op("matmul")?)?; // [out, rank]
    for _ in 0..POWER_ITERATIONS {
        let back = basis(&transposed.f_matmul(&range).op("matmul")?)?; // [in, rank]
        range = basis(&xs.f_matmul(&back).op("matmul")?)?;
    }
    let small = range.f_tr().op("tr")?.f_matmul(xs).op("matmul")?; // [rank, in]
    let (u, s, vh) = svd(&small)?;
    Ok((range.f_matmul(&u).op("matmul")?, s, vh))
}
