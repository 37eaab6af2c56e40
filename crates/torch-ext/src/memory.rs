//! Host memory of this process.

/// Host memory of this process, from `/proc/self/status` (zero where there is none).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessMemory {
    /// Resident bytes of its own (`RssAnon`): what would be freed if it ended, mapped files not counted.
    pub private_bytes: u64,
    /// Resident bytes, mapped files included (`VmRSS`).
    pub resident_bytes: u64,
    /// The most ever resident (`VmHWM`).
    pub peak_bytes: u64,
}

/// Reads the host memory of this process.
pub fn process_memory() -> ProcessMemory {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    ProcessMemory {
        private_bytes: bytes("RssAnon"),
        resident_bytes: bytes("VmRSS"),
        peak_bytes: bytes("VmHWM"),
    }
}

#[cfg(test)]
mod tests {
    use super::process_memory;

    #[test]
    fn private_memory_grows_with_written_pages() {
        let before = process_memory().private_bytes;
        let block = vec![1u8; 128 << 20];
        let after = process_memory().private_bytes;
        // Tests that run beside this one in the same process free some of theirs.
        assert!(after >= before + (96 << 20), "{before} {after} {}", block[5]);
    }
}
