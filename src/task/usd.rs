//! Money: US dollars, exact to a thousand-millionth.

use std::fmt;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Parts of a dollar that are counted. Prices are quoted per million tokens with up to three
/// decimals, so that a single token costs a whole number of these.
const PER_DOLLAR: f64 = 1e9;

/// An amount of US dollars; written as a number: `0.0125`. Counted in whole thousand-millionths,
/// for sums of floating point numbers depend on their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Usd(u64);

impl Usd {
    /// So many thousand-millionths of a dollar.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The same amount in thousand-millionths of a dollar.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The same amount in dollars.
    pub fn dollars(self) -> f64 {
        self.0 as f64 / PER_DOLLAR
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }

    /// What is left after taking `less` away; nothing if that is more.
    pub fn saturating_sub(self, less: Self) -> Self {
        Self(self.0.saturating_sub(less.0))
    }

    /// Dollars, rounded to the nearest thousand-millionth; `None` if they are negative, endless or
    /// no number.
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        let nanos = (dollars * PER_DOLLAR).round();
        let is_amount = nanos.is_finite() && (0.0..=u64::MAX as f64).contains(&nanos);
        is_amount.then_some(Self(nanos as u64))
    }
}

impl Add for Usd {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, more: Self) {
        *self = *self + more;
    }
}

/// Two decimals where they tell enough, four below a dollar: `$12.50`, `$0.0312`.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dollars = self.dollars();
        match self.0 {
            0 => f.write_str("$0"),
            1_000_000_000.. => write!(f, "${dollars:.2}"),
            100_000.. => write!(f, "${dollars:.4}"),
            _ => f.write_str("less than $0.0001"),
        }
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.dollars())
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let dollars = f64::deserialize(deserializer)?;
        Self::from_dollars(dollars)
            .ok_or_else(|| serde::de::Error::custom("an amount of dollars is a number from 0 on"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_survive_the_text_form_exactly() {
        for nanos in [0, 1, 7, 25, 999_999_999, 1_000_000_001, 123_456_789_012_345] {
            let amount = Usd::from_nanos(nanos);
            let text = serde_json::to_string(&amount).unwrap();
            assert_eq!(serde_json::from_str::<Usd>(&text).unwrap(), amount, "{text}");
        }
        assert!(serde_json::from_str::<Usd>("-1").is_err());
        assert_eq!(serde_json::from_str::<Usd>("2").unwrap(), Usd::from_nanos(2_000_000_000));
    }

    #[test]
    fn people_read_dollars() {
        let shown = |nanos| Usd::from_nanos(nanos).to_string();
        assert_eq!(shown(12_500_000_000), "$12.50");
        assert_eq!(shown(31_240_000), "$0.0312");
        assert_eq!(shown(70), "less than $0.0001");
        assert_eq!(shown(0), "$0");
    }
}
