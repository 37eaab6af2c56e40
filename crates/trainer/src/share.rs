//! The share of one process in numbers that all processes make together.

use nn_core::TorchContext;
use process_group::ProcessGroup;
use tch::{Device, Kind, Tensor};

use crate::TrainError;

/// A list of numbers, each made by one process, and the wish to stop.
///
/// A number is summed with the zeros of the other processes, so that it comes out as it was made: sums over the list are
/// the same as those of one process.
#[derive(Debug)]
pub(crate) struct Share<'a> {
    group: &'a ProcessGroup,
    len: usize,
    /// Place and number, float64 `[1]`.
    made: Vec<(usize, Tensor)>,
    stopped: bool,
}

impl<'a> Share<'a> {
    /// Begins a list of `len` numbers.
    pub(crate) fn new(group: &'a ProcessGroup, len: usize) -> Self {
        Self { group, len, made: Vec::new(), stopped: false }
    }

    /// Returns the places in the list that are this process's.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> + use<> {
        (self.group.rank()..self.len).step_by(self.group.world_size())
    }

    /// Puts a number into its place.
    pub(crate) fn put(&mut self, place: usize, number: Tensor) {
        self.made.push((place, number));
    }

    /// Wishes to stop: numbers are missing.
    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Checks for a stop that needs nobody's agreement.
    pub(crate) fn ends_alone(&self) -> bool {
        self.stopped && self.group.world_size() == 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// Returns the numbers of all processes, float64 `[1]` each on `device`; of several processes, a last one that is for
    /// [`Share::is_stopped`].
    pub(crate) fn sum(self, device: Device) -> Result<Vec<Tensor>, TrainError> {
        if self.group.world_size() == 1 {
            return Ok(self.made.into_iter().map(|(_, number)| number).collect());
        }
        let mut all = Tensor::f_zeros([self.len as i64 + 1], (Kind::Double, device)).op("zeros")?;
        for (place, number) in self.made {
            all.f_narrow(0, place as i64, 1).op("narrow")?.f_copy_(&number).op("copy_")?;
        }
        if self.stopped {
            let _ = all.f_narrow(0, self.len as i64, 1).op("narrow")?.f_fill_(1.0).op("fill_")?;
        }
        self.group.all_reduce(&mut all)?;
        Ok(vec![all])
    }

    /// Takes the wish to stop off the numbers of [`Share::sum`].
    pub(crate) fn is_stopped(group: &ProcessGroup, numbers: &mut Vec<f64>) -> bool {
        group.world_size() > 1 && numbers.pop() != Some(0.0)
    }
}
