//! CRC-32C (Castagnoli; RFC 3720, appendix B.4), the checksum of TensorBoard's record files.

/// The polynomial 0x1EDC6F41 with its bits reversed.
const POLYNOMIAL: u32 = 0x82F6_3B78;

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// Computes the checksum of `bytes`.
pub(crate) fn crc32c(bytes: impl IntoIterator<Item = u8>) -> u32 {
    !bytes.into_iter().fold(!0, |crc, byte| (crc >> 8) ^ TABLE[((crc as u8) ^ byte) as usize])
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn the_checksums_are_those_of_rfc_3720() {
        assert_eq!(crc32c([0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c([0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(0..32), 0x46DD_794E);
    }
}
