//! Loading of linear layers.

use nn_core::{LinearSlot, LinearSource, ModulePath, NnError};

use crate::{LlamaConfig, Module};

/// Asks `source` for a linear layer of the decoder layer at `layer`.
pub(crate) fn load_linear(
    module: &Module,
    layer: &ModulePath,
    config: &LlamaConfig,
    source: &dyn LinearSource,
) -> Result<LinearSlot, NnError> {
    let (inputs, outputs) = (config.inputs(module), config.width(module.rows));
    let has_bias = (module.has_bias)(config.decoder);
    source.linear(&layer.join(module.path), inputs, outputs, has_bias).map(LinearSlot::new)
}
