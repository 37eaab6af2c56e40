//! NVIDIA's own tool: the GPUs of a machine and their driver, also where CUDA cannot be used.

use std::process::Command;

/// The fields that are asked for, in the order of [`Card`].
const QUERY: &str = "--query-gpu=index,uuid,driver_version,memory.free";
/// The oldest driver that runs programs of a CUDA version, by its first number (NVIDIA, CUDA release notes, table 3: minor
/// version compatibility).
const LEAST_DRIVER: [(u32, u32); 2] = [(12, 525), (13, 580)];

/// One GPU.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Card {
    index: usize,
    uuid: String,
    /// Version of the driver, such as 535.104.05.
    pub(crate) driver: String,
    /// Free memory in bytes.
    pub(crate) free: f64,
}

/// Lists the GPUs of this machine; none where the tool is missing.
pub(crate) fn cards() -> Vec<Card> {
    let output = Command::new("nvidia-smi").args([QUERY, "--format=csv,noheader,nounits"]).output();
    output.map(|output| parsed(&String::from_utf8_lossy(&output.stdout))).unwrap_or_default()
}

fn parsed(text: &str) -> Vec<Card> {
    let card = |line: &str| {
        let mut fields = line.split(',').map(str::trim);
        let (index, uuid) = (fields.next()?.parse().ok()?, fields.next()?.to_owned());
        let (driver, free_mib) = (fields.next()?.to_owned(), fields.next()?.parse::<f64>().ok()?);
        Some(Card { index, uuid, driver, free: free_mib * f64::from(1 << 20) })
    };
    text.lines().filter_map(card).collect()
}

/// Finds the card that CUDA counts as device `index` where `visible` is the value of `CUDA_VISIBLE_DEVICES`: numbers or the
/// beginnings of UUIDs, up to the first that there is not. Cards of different kinds are in the tool's order where
/// `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`.
pub(crate) fn visible<'a>(cards: &'a [Card], visible: Option<&str>, index: usize) -> Option<&'a Card> {
    let Some(visible) = visible else { return cards.iter().find(|card| card.index == index) };
    let named = |name: &str| match name.parse::<usize>() {
        Ok(number) => cards.iter().find(|card| card.index == number),
        Err(_) => cards.iter().find(|card| !name.is_empty() && card.uuid.starts_with(name)),
    };
    visible.split(',').map(|name| named(name.trim())).map_while(|card| card).nth(index)
}

/// Returns the sentence about a driver that is too old for this CUDA version (13.0); `None` where it is not, or nobody knows.
pub(crate) fn too_old(driver: &str, cuda: &str) -> Option<String> {
    let first = |version: &str| version.split('.').next()?.parse::<u32>().ok();
    let (have, major) = (first(driver)?, first(cuda)?);
    let (_, least) = LEAST_DRIVER.into_iter().find(|(version, _)| *version == major)?;
    (have < least).then(|| {
        format!(
            "the NVIDIA driver is {driver}, and CUDA {cuda} of the libtorch in use needs {least} or newer"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str =
        "0, GPU-1d3a, 535.104.05, 11441\n1, GPU-77ff, 535.104.05, 80994\nNVIDIA-SMI has failed\n";

    #[test]
    fn the_free_memory_is_that_of_the_device_that_cuda_counts() {
        let cards = parsed(TWO);
        assert_eq!(cards.len(), 2);
        let free = |names, index| visible(&cards, names, index).map(|card| card.free / f64::from(1 << 20));
        assert_eq!(free(None, 1), Some(80994.0));
        assert_eq!(free(Some("1,0"), 0), Some(80994.0));
        assert_eq!(free(Some("GPU-77"), 0), Some(80994.0));
        // What comes behind a device that is not there does not count; nor does anything of an empty list.
        assert_eq!((free(Some("0,7,1"), 1), free(Some(""), 0), free(None, 2)), (None, None, None));
    }

    #[test]
    fn a_driver_too_old_is_named_with_the_one_that_is_needed() {
        let sentence = too_old("535.104.05", "13.0").unwrap();
        assert!(sentence.contains("535.104.05") && sentence.contains("580"), "{sentence}");
        assert_eq!((too_old("580.65", "13.0"), too_old("535.104", "12.8")), (None, None));
        assert_eq!((too_old("[N/A]", "13.0"), too_old("1.0", "99.0")), (None, None));
    }
}
