//! Values on each of the devices that a model is on.

use nn_core::{NnError, TorchContext};
use tch::{Device, Tensor};

/// A value on each device that some layer is on.
#[derive(Debug)]
pub(crate) struct OnEach<T> {
    first: T,
    further: Vec<(Device, T)>,
}

impl<T> OnEach<T> {
    /// Makes a value on `first`, and on each other device of `layers`.
    pub(crate) fn new(
        first: Device,
        layers: &[Device],
        mut make: impl FnMut(Device) -> Result<T, NnError>,
    ) -> Result<Self, NnError> {
        let mut further: Vec<(Device, T)> = Vec::new();
        let on_first = make(first)?;
        for &device in layers {
            if device != first && further.iter().all(|(other, _)| *other != device) {
                further.push((device, make(device)?));
            }
        }
        Ok(Self { first: on_first, further })
    }

    /// Returns the value on `device`.
    pub(crate) fn on(&self, device: Device) -> &T {
        let found = self.further.iter().find(|(other, _)| *other == device);
        found.map_or(&self.first, |(_, value)| value)
    }
}

/// Moves hidden states to the device of the layer that reads them; does nothing where they are there.
pub(crate) fn moved(hidden: Tensor, device: Device) -> Result<Tensor, NnError> {
    if hidden.device() == device { Ok(hidden) } else { Ok(hidden.f_to_device(device).op("to_device")?) }
}

/// Puts indices, `[n]` int64, on `device`.
pub(crate) fn indices(values: &[i64], device: Device) -> Result<Tensor, NnError> {
    Ok(torch_ext::cuda::upload(values, device).op("upload")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_has_one_value() {
        let (first, second, third) = (Device::Cuda(0), Device::Cuda(1), Device::Cuda(2));
        let mut made = Vec::new();
        let layers = [first, second, second, third];
        let each = OnEach::new(first, &layers, |device| {
            made.push(device);
            Ok(device)
        });
        let each = each.unwrap();
        assert_eq!(made, [first, second, third]);
        assert!(layers.iter().all(|&device| *each.on(device) == device));
    }
}
