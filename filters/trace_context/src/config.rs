//! The plugin's configuration: `sample PERCENT` and `answer HEADER`, one a line.

#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Of 10 000 new traces so many are recorded.
    pub sampled: u64,
    /// The header of the answer that tells the trace's id.
    pub answer: Option<String>,
}

impl Config {
    /// Blank lines and those that begin with # do not count. The error names the line and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut config = Self { sampled: 10_000, answer: None };
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let expected = |what: &str| format!("line {}: expected: {}, got '{}'", index + 1, what, line);
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["sample", percent] => {
                    let known = percent.parse::<f64>().ok().filter(|p| (0.0..=100.0).contains(p));
                    config.sampled = (known.ok_or_else(|| expected("sample 0 to 100"))? * 100.0).round() as u64;
                }
                ["answer", header] => config.answer = Some(header.to_string()),
                _ => return Err(expected("sample PERCENT or answer HEADER")),
            }
        }
        Ok(config)
    }
}
