//! The header `traceparent` of W3C Trace Context: reading it, writing it, ids for new traces.

/// What goes on with a request: which trace it belongs to, and whether that is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub trace_id: u128,
    pub parent_id: u64,
    pub sampled: bool,
}

impl TraceParent {
    /// Read a header's value. A version after 00 may have more to say behind a dash, which is not read.
    pub fn parse(text: &str) -> Option<Self> {
        if !text.is_ascii() || text.len() < 55 {
            return None;
        }
        let (version, rest) = (hex(&text[..2])?, &text[55..]);
        let dashes = [2, 35, 52].iter().all(|&at| text.as_bytes()[at] == b'-');
        let extended = version > 0 && rest.starts_with('-');
        if !dashes || version == 0xff || !(rest.is_empty() || extended) {
            return None;
        }
        let (trace_id, parent_id) = (hex(&text[3..35])?, hex(&text[36..52])?);
        if trace_id == 0 || parent_id == 0 {
            return None;
        }
        let sampled = hex(&text[53..55])? & 1 == 1;
        Some(Self { trace_id, parent_id: parent_id as u64, sampled })
    }

    pub fn to_header(&self) -> String {
        format!("00-{:032x}-{:016x}-{:02x}", self.trace_id, self.parent_id, u8::from(self.sampled))
    }
}

/// Lower-case hexadecimal digits, as the specification wants them.
fn hex(text: &str) -> Option<u128> {
    let fits = text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    if fits {
        u128::from_str_radix(text, 16).ok()
    } else {
        None
    }
}

/// The number that the digits of a request id are, where it is a UUID (as the proxy makes them: at random).
pub fn uuid(text: &str) -> Option<u128> {
    let digits: String = text.chars().filter(|&c| c != '-').collect();
    if digits.len() == 32 {
        hex(&digits.to_ascii_lowercase()).filter(|&id| id != 0)
    } else {
        None
    }
}

/// The finalizer of SplitMix64: every bit of the result depends on every bit of `value`. Never 0.
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)).max(1)
}
