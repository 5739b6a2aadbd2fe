//! A limit of a budget that stands in the way of a task: as a fact, and in words.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::{Resource, Usd};

/// A limit that stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Exceeded {
    /// Which one.
    pub resource: Resource,
    /// How much there is in all; money in thousand-millionths of a dollar.
    pub limit: u64,
    /// How much of it is used, calls in flight included.
    pub used: u64,
    /// How much more is wanted.
    pub wanted: u64,
}

/// A limit of the budget that stands in the way, in the unit of its key there: money in US dollars.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Exceeded")]
struct Written {
    /// Which one.
    resource: Resource,
    /// How much there is in all.
    limit: Number,
    /// How much of it is used, calls in flight included.
    used: Number,
    /// How much more the next call may take; 0 if time is up.
    wanted: Number,
}

impl From<Exceeded> for Written {
    fn from(exceeded: Exceeded) -> Self {
        let Exceeded { resource, limit, used, wanted } = exceeded;
        let [limit, used, wanted] = [limit, used, wanted].map(|amount| match resource {
            // An amount of money is never endless, which is all that could make it no number.
            Resource::CostUsd => Number::from_f64(Usd::from_nanos(amount).dollars()).unwrap_or(amount.into()),
            _ => amount.into(),
        });
        Self { resource, limit, used, wanted }
    }
}

impl TryFrom<Written> for Exceeded {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { resource, limit, used, wanted } = written;
        let amount = |number: Number| {
            let amount = match resource {
                Resource::CostUsd => number.as_f64().and_then(Usd::from_dollars).map(Usd::nanos),
                _ => number.as_u64(),
            };
            amount.ok_or_else(|| format!("{number} is no amount of {}", resource.words()))
        };
        Ok(Self { resource, limit: amount(limit)?, used: amount(used)?, wanted: amount(wanted)? })
    }
}

impl JsonSchema for Exceeded {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Written::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Written::json_schema(generator)
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, limit, used, wanted } = *self;
        let [limit, shown] = [limit, used].map(|amount| resource.amount(amount));
        write!(f, "the budget of {} is used up: {shown} of {limit}", resource.words())?;
        match resource {
            Resource::Tokens | Resource::CostUsd => {
                write!(f, ", and the next call may take {}", resource.amount(wanted))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_written_in_the_unit_of_the_budget_and_read_as_they_were() {
        let tokens = Exceeded { resource: Resource::Tokens, limit: u64::MAX, used: 900, wanted: 3 };
        let written = json!({"resource": "tokens", "limit": u64::MAX, "used": 900, "wanted": 3});
        assert_eq!(json!(tokens), written);
        assert_eq!(serde_json::from_value::<Exceeded>(written).unwrap(), tokens);
        let money = Exceeded { resource: Resource::CostUsd, limit: 500_000_000, used: 3, wanted: 12_500_000 };
        let written = json!({"resource": "costUsd", "limit": 0.5, "used": 0.000000003, "wanted": 0.0125});
        assert_eq!(json!(money), written);
        assert_eq!(serde_json::from_value::<Exceeded>(written).unwrap(), money);
        let wrong = json!({"resource": "steps", "limit": -1, "used": 0, "wanted": 1});
        let said = serde_json::from_value::<Exceeded>(wrong).unwrap_err().to_string();
        assert!(said.contains("-1 is no amount of steps"), "{said}");
    }
}
