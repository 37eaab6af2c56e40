//! The modules of a model, as far as an adapter has to know them.

use nn_core::{ModulePath, VisitLinears};

/// Kind of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleKind {
    /// Weight `[out, in]`.
    Linear,
    /// Weight `[V, C]`.
    Embedding,
    /// Weight `[C]`.
    Norm,
}

/// A module with a weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleShape {
    /// Its name in the checkpoint, without `.weight`.
    pub path: ModulePath,
    /// Its kind.
    pub kind: ModuleKind,
    /// Rows of the weight: outputs of a linear layer, tokens of an embedding, width of a norm.
    pub rows: i64,
    /// Columns of the weight: inputs of a linear layer, width of an embedding, 1 for a norm.
    pub columns: i64,
}

impl ModuleShape {
    /// Describes a linear layer.
    pub fn linear(path: ModulePath, in_features: i64, out_features: i64) -> Self {
        Self { path, kind: ModuleKind::Linear, rows: out_features, columns: in_features }
    }

    /// Returns the shape of the weight.
    pub fn weight_shape(&self) -> Vec<i64> {
        if self.kind == ModuleKind::Norm { vec![self.rows] } else { vec![self.rows, self.columns] }
    }
}

/// The modules of a model.
#[derive(Debug, Clone, Default)]
pub struct ModelShape {
    /// Linear layers, the head last; embeddings; norms.
    pub modules: Vec<ModuleShape>,
    /// The embedding and the head that are one tensor in the checkpoint.
    pub tied: Option<(ModulePath, ModulePath)>,
    /// True where linear layers are quantised: what an adapter took out of the original weights cannot be found there.
    pub is_quantized: bool,
}

impl ModelShape {
    /// Describes a model that is loaded.
    pub fn of(model: &mut dyn VisitLinears) -> Self {
        let mut modules = Vec::new();
        model.visit_linears_mut(&mut |path, slot| {
            let op = slot.get();
            modules.push(ModuleShape::linear(path.clone(), op.in_features(), op.out_features()));
        });
        model.visit_embeddings_mut(&mut |path, slot| {
            let (rows, columns) = (slot.get().num_embeddings(), slot.get().embedding_dim());
            modules.push(ModuleShape { path: path.clone(), kind: ModuleKind::Embedding, rows, columns });
        });
        model.visit_norms_mut(&mut |path, weight| {
            let rows = weight.size().first().copied().unwrap_or_default();
            modules.push(ModuleShape { path: path.clone(), kind: ModuleKind::Norm, rows, columns: 1 });
        });
        Self { modules, tied: model.tied(), is_quantized: model.is_quantized() }
    }

    /// Finds the module of this path.
    pub(crate) fn get(&self, path: &str) -> Option<&ModuleShape> {
        self.modules.iter().find(|module| module.path.as_str() == path)
    }
}

impl From<Vec<ModuleShape>> for ModelShape {
    fn from(modules: Vec<ModuleShape>) -> Self {
        Self { modules, ..Self::default() }
    }
}
