//! Which devices the parts of a model are loaded on.

use std::fmt;

use nn_core::{LinearOp, LinearSource, ModulePath, NnError};
use tch::{Device, Tensor};

/// The device of each part of a model: the embedding is on the first, then come layers in their order, and the final norm and the
/// head are on the last. A head that is the embedding is where that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceMap {
    first: Device,
    /// Each further device, and the first layer on it.
    further: Vec<(usize, Device)>,
}

impl From<Device> for DeviceMap {
    fn from(first: Device) -> Self {
        Self { first, further: Vec::new() }
    }
}

impl DeviceMap {
    /// Makes the map of a model whose embedding is on `first`, with its first layers up to the first of `further`: pairs of a layer
    /// and the device of this and the following ones, in the order of layers.
    pub fn split(first: Device, further: Vec<(usize, Device)>) -> Self {
        Self { first, further }
    }

    /// Returns the device of the embedding.
    pub fn first(&self) -> Device {
        self.first
    }

    /// Returns the device of the final norm.
    pub fn last(&self) -> Device {
        self.further.last().map_or(self.first, |&(_, device)| device)
    }

    /// Lists the devices in the order in which the model goes through them.
    pub fn devices(&self) -> Vec<Device> {
        std::iter::once(self.first).chain(self.further.iter().map(|&(_, device)| device)).collect()
    }

    /// Returns the device of layer `index`.
    pub fn of_layer(&self, index: usize) -> Device {
        let before = self.further.iter().take_while(|&&(start, _)| start <= index);
        before.last().map_or(self.first, |&(_, device)| device)
    }

    /// Returns the device of a tensor or a module by its name.
    fn of(&self, name: &str) -> Device {
        let layer = name.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next()?.parse().ok());
        match layer {
            Some(index) => self.of_layer(index),
            None if name.starts_with("model.embed_tokens") => self.first,
            None => self.last(),
        }
    }
}

impl fmt::Display for DeviceMap {
    /// Writes `embedding and layers from 0 on cuda:0, from 16 on cuda:1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |device| match device {
            Device::Cuda(index) => format!("cuda:{index}"),
            other => format!("{other:?}").to_lowercase(),
        };
        write!(f, "embedding and layers from 0 on {}", name(self.first))?;
        self.further.iter().try_for_each(|&(layer, device)| write!(f, ", from {layer} on {}", name(device)))
    }
}

/// A source for each device, from which a model takes each part where the map has it.
pub(crate) struct MappedSource<S> {
    map: DeviceMap,
    /// One for each of [`DeviceMap::devices`].
    sources: Vec<(Device, S)>,
}

impl<S: LinearSource> MappedSource<S> {
    /// Makes the source of each device by `source`.
    pub(crate) fn new<E>(map: &DeviceMap, mut source: impl FnMut(Device) -> Result<S, E>) -> Result<Self, E> {
        let devices = map.devices().into_iter();
        let sources = devices.map(|device| Ok((device, source(device)?))).collect::<Result<_, E>>()?;
        Ok(Self { map: map.clone(), sources })
    }

    /// Lists the sources.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &S> {
        self.sources.iter().map(|(_, source)| source)
    }

    fn of(&self, name: &str) -> &S {
        let device = self.map.of(name);
        let found = self.sources.iter().find(|(of, _)| *of == device);
        &found.unwrap_or(&self.sources[0]).1
    }
}

impl<S: LinearSource> LinearSource for MappedSource<S> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        self.of(name).tensor(name, shape)
    }

    fn linear(
        &self,
        path: &ModulePath,
        in_features: i64,
        out_features: i64,
        bias: bool,
    ) -> Result<Box<dyn LinearOp>, NnError> {
        self.of(path.as_str()).linear(path, in_features, out_features, bias)
    }

    fn is_quantized(&self) -> bool {
        self.sources().any(LinearSource::is_quantized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_follow_each_other_over_the_devices() {
        let (first, second, third) = (Device::Cuda(0), Device::Cuda(1), Device::Cuda(2));
        let map = DeviceMap::split(first, vec![(2, second), (5, third)]);
        let layers: Vec<Device> = (0..6).map(|index| map.of_layer(index)).collect();
        assert_eq!(layers, [first, first, second, second, second, third]);
        assert_eq!(map.devices(), [first, second, third]);
        assert_eq!(map.of("model.embed_tokens.weight"), first);
        assert_eq!(map.of("model.layers.4.self_attn.q_proj"), second);
        assert_eq!((map.of("model.norm.weight"), map.of("lm_head.weight")), (third, third));
        assert_eq!(
            map.to_string(),
            "embedding and layers from 0 on cuda:0, from 2 on cuda:1, from 5 on cuda:2"
        );
    }

    #[test]
    fn one_device_has_all_of_it() {
        let map = DeviceMap::from(Device::Cpu);
        for name in ["model.embed_tokens.weight", "model.layers.7.mlp.up_proj.weight", "lm_head.weight"] {
            assert_eq!(map.of(name), Device::Cpu, "{name}");
        }
    }
}
