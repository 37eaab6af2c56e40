//! Gradients of fused operations.

use tch::TchError;
use torch_ext::ExtError;

/// Converts the failure of an operation with passes of its own, whose message is that of the pass.
#[expect(clippy::needless_pass_by_value, reason = "called by `map_err`")]
pub(super) fn as_torch(error: ExtError) -> TchError {
    TchError::Torch(error.to_string())
}
