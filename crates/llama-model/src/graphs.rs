//! Decoding steps of a CUDA device, recorded as graphs: a step of a small batch is hundreds of short kernels, and launching them
//! takes longer than they do.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};

use nn_core::{NnError, TorchContext};
use tch::{Device, Tensor};
use torch_ext::CudaGraph;

use crate::Llama;
use crate::cache::LayerCache;
use crate::fixed_step::{FixedStep, span};
use crate::rope::Rotation;

/// Ordinary steps of a shape before it is recorded: a short answer does not repay it.
const PATIENCE: usize = 4;
/// The most rows of a recorded step: the batch of `evaluate`, and more than a server's.
const MAX_ROWS: usize = 64;
/// The most shapes that are recorded for one session; each keeps the memory of a step.
const MAX_GRAPHS: usize = 16;
/// Largest accepted difference between the logits of a recorded and of an ordinary step, relative to the largest. In bfloat16 another
/// order of sums moves them by a few steps of 1/256; a mistake, by much more.
const TOLERANCE: f64 = 0.05;

/// Recordings that may fail before none is tried in this process any more: a lack of memory passes.
const MAX_FAILURES: usize = 3;

/// Recordings that failed; all that may, where one gave something else.
static FAILURES: AtomicUsize = AtomicUsize::new(0);

/// The recorded steps of one session.
#[derive(Debug)]
pub(crate) struct Graphs {
    capacity: usize,
    /// True after a failure: this session goes on without.
    refused: bool,
    shapes: Vec<Shape>,
}

#[derive(Debug)]
struct Shape {
    rows: usize,
    span: usize,
    /// Ordinary steps that had it.
    steps: usize,
    recorded: Option<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    // Before what it reads and writes, so that it goes first.
    graph: CudaGraph,
    step: FixedStep,
    /// `[n, V]`.
    logits: Tensor,
}

/// A recorded step that computes something else than an ordinary one.
#[derive(Debug, thiserror::Error)]
#[error("its logits are off by {off:.3} where the largest is {size:.3}")]
struct Differs {
    off: f64,
    size: f64,
}

type Failure = Box<dyn Error + Send + Sync>;

impl Graphs {
    /// Creates the graph cache of a session with `capacity` positions.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, refused: false, shapes: Vec::new() }
    }

    /// Shapes that are recorded.
    #[cfg(test)]
    pub(crate) fn recorded(&self) -> usize {
        self.shapes.iter().filter(|shape| shape.recorded.is_some()).count()
    }

    /// Computes the logits after the given tokens of rows `0..n`, at these positions; `None` where no such step is recorded.
    pub(crate) fn replay(&mut self, ids: &[i64], positions: &[i64]) -> Option<Tensor> {
        let shape = self.shape(positions)?;
        let recorded = shape.recorded.as_mut()?;
        match recorded.replay(ids, positions) {
            Ok(logits) => Some(logits),
            Err(failure) => {
                self.refuse(&failure);
                None
            }
        }
    }

    /// Records the step that has just been taken, giving `logits`, if its shape comes up often enough.
    pub(crate) fn record(
        &mut self,
        model: &Llama,
        caches: &mut [LayerCache],
        rotation: &Rotation,
        (ids, positions): (&[i64], &[i64]),
        logits: &Tensor,
    ) {
        let full = self.shapes.iter().filter(|shape| shape.recorded.is_some()).count() >= MAX_GRAPHS;
        let (Device::Cuda(index), Some(shape)) = (model.device(), self.shape(positions)) else { return };
        shape.steps += 1;
        if shape.steps < PATIENCE || full {
            return;
        }
        let recorded =
            FixedStep::new(model, shape.rows, shape.span).map_err(Failure::from).and_then(|step| {
                Recorded::new(index, step, (ids, positions), logits, &mut |step| {
                    Ok(step.logits(model, caches, rotation)?)
                })
            });
        match recorded {
            Ok(recorded) => shape.recorded = Some(recorded),
            Err(failure) => self.refuse(&failure),
        }
    }

    fn refuse(&mut self, failure: &Failure) {
        self.refused = true;
        let counts = if failure.is::<Differs>() { MAX_FAILURES } else { 1 };
        let left = FAILURES.fetch_add(counts, Ordering::Relaxed) + counts < MAX_FAILURES;
        let for_how_long = if left { "of this batch" } else { "of this process" };
        tracing::warn!(
            "decoding steps {for_how_long} are launched one by one, since a recorded one cannot be used: {failure}"
        );
    }

    /// Returns the record of steps with as many rows and this span.
    fn shape(&mut self, positions: &[i64]) -> Option<&mut Shape> {
        if self.refused || FAILURES.load(Ordering::Relaxed) >= MAX_FAILURES || positions.len() > MAX_ROWS {
            return None;
        }
        let seen = positions.iter().copied().max()? as usize + 1;
        let (rows, span) = (positions.len(), span(seen, self.capacity));
        let found = self.shapes.iter().position(|shape| (shape.rows, shape.span) == (rows, span));
        let index = found.unwrap_or_else(|| {
            self.shapes.push(Shape { rows, span, steps: 0, recorded: None });
            self.shapes.len() - 1
        });
        self.shapes.get_mut(index)
    }
}

impl Recorded {
    fn new(
        index: usize,
        mut step: FixedStep,
        (ids, positions): (&[i64], &[i64]),
        expected: &Tensor,
        run: &mut dyn FnMut(&FixedStep) -> Result<Tensor, Failure>,
    ) -> Result<Self, Failure> {
        step.set(ids, positions)?;
        let (graph, logits) = CudaGraph::capture(index, &mut || run(&step))?;
        let mut recorded = Self { graph, step, logits };
        let actual = recorded.replay(ids, positions)?;
        let largest =
            |xs: &Tensor| xs.f_abs().op("abs")?.f_max().op("max")?.f_double_value(&[]).op("double_value");
        let (off, size) = (largest(&actual.f_sub(expected).op("sub")?)?, largest(expected)?);
        // Also when either is NaN.
        if off <= TOLERANCE * size {
            return Ok(recorded);
        }
        Err(Differs { off, size }.into())
    }

    fn replay(&mut self, ids: &[i64], positions: &[i64]) -> Result<Tensor, Failure> {
        self.step.set(ids, positions)?;
        self.graph.replay()?;
        // The next replay writes where this one did.
        Ok(self.logits.f_detach_copy().op("detach_copy").map_err(NnError::from)?)
    }
}
