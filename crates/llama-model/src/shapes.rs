//! Shapes of all tensors of a model.

use crate::modules::{EMBEDDING, FINAL_NORM, HEAD, LINEARS, layer_modules};
use crate::{LlamaConfig, Module, Width};

impl LlamaConfig {
    /// Returns a dimension in a model of this shape.
    pub fn width(&self, width: Width) -> i64 {
        match width {
            Width::Vocabulary => self.vocab_size,
            Width::Hidden => self.hidden_size,
            Width::Queries => self.num_attention_heads * self.head_dim,
            Width::KeysValues => self.num_key_value_heads * self.head_dim,
            Width::FeedForward => self.intermediate_size,
            Width::Head => self.head_dim,
        }
    }

    /// Returns the columns of a module's weight, which are the inputs of a linear layer.
    pub(crate) fn inputs(&self, module: &Module) -> i64 {
        module.columns.map_or(1, |columns| self.width(columns))
    }

    /// Returns one decoder layer's linear layers, attention's four first, as `(leaf name, in, out)`.
    pub fn layer_linears(&self) -> [(&'static str, i64, i64); LINEARS.len()] {
        LINEARS.each_ref().map(|module| (module.leaf(), self.inputs(module), self.width(module.rows)))
    }

    /// Returns every tensor of a checkpoint of this shape, by name, in the order of the model.
    pub fn tensor_shapes(&self) -> Vec<(String, Vec<i64>)> {
        let mut shapes = Vec::new();
        self.push(&mut shapes, "", &EMBEDDING);
        for layer in 0..self.num_hidden_layers {
            let layer = format!("model.layers.{layer}.");
            for module in layer_modules().filter(|module| (module.is_in)(self.decoder)) {
                self.push(&mut shapes, &layer, module);
            }
        }
        self.push(&mut shapes, "", &FINAL_NORM);
        if !self.tie_word_embeddings {
            self.push(&mut shapes, "", &HEAD);
        }
        shapes
    }

    fn push(&self, shapes: &mut Vec<(String, Vec<i64>)>, prefix: &str, module: &Module) {
        let rows = self.width(module.rows);
        let columns = module.columns.map(|columns| self.width(columns));
        shapes.push((format!("{prefix}{}.weight", module.path), [rows].into_iter().chain(columns).collect()));
        if (module.has_bias)(self.decoder) {
            shapes.push((format!("{prefix}{}.bias", module.path), vec![rows]));
        }
    }

    /// Returns the number of parameters, a tied head counted once.
    pub fn num_parameters(&self) -> i64 {
        self.tensor_shapes().iter().map(|(_, shape)| shape.iter().product::<i64>()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_b_has_its_known_number_of_parameters() {
        assert_eq!(LlamaConfig::new(32_000, 4096, 11_008, 32, 32).num_parameters(), 6_738_415_616);
    }
}
