//! The stock projection: the keys `product:{productId}:stock`, plain integers that other services
//! read and change. The hash `order_engine:stock` contains what was last written for each product:
//! version, available stock, external adjustment.
//!
//! The scripts use several keys, so Redis Cluster is not supported.

use std::sync::{Arc, LazyLock};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::Script;

use crate::domain::stock::{NUMBER_MAX, ProjectedStock, StockReading};
use crate::engine::ports::StockProjection;
use crate::error::Result;
use crate::transport::redis::RedisLink;

/// The hash of what was last written for each product.
const SHOWN: &str = "order_engine:stock";

/// Lua function of both scripts: whether a value is an integer that Lua represents exactly.
const IS_NUMBER: &str = "
    local function is_number(text)
        return type(text) == 'string' and string.match(text, '^-?%d+$')
            and math.abs(tonumber(text)) <= 9007199254740991
    end
    ";

/// Reads the keys and what was last written, atomically. If nothing was written yet, the database's
/// stock counts as written, so that an existing number is an external adjustment of it.
static READ: LazyLock<Script> = LazyLock::new(|| {
    with_numbers(
        "local seen = {}
         for i = 2, #KEYS do
             local at = (i - 2) * 2
             local number = redis.pcall('GET', KEYS[i])
             if is_number(number) then
                 redis.call('HSETNX', KEYS[1], ARGV[at + 1], ARGV[at + 2])
                 seen[i - 1] = {number, redis.call('HGET', KEYS[1], ARGV[at + 1])}
             else
                 seen[i - 1] = {}
             end
         end
         return seen",
    )
});

/// Writes stock. It adds the difference from the last written stock to the key, without external
/// adjustments, which the key already contains. So concurrent changes by other services are not
/// lost. A value that is not a number is replaced.
static SHOW: LazyLock<Script> = LazyLock::new(|| {
    with_numbers(
        "for i = 2, #KEYS do
             local at = (i - 2) * 4
             local product, version = ARGV[at + 1], tonumber(ARGV[at + 2])
             local available, adopted = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
             local before = redis.call('HGET', KEYS[1], product)
             local number = redis.pcall('GET', KEYS[i])
             local there = is_number(number)
             local shown, was, took = -1, available, adopted
             if before then
                 shown, was, took = string.match(before, '^(%d+):(-?%d+):(-?%d+)$')
                 shown, was, took = tonumber(shown), tonumber(was), tonumber(took)
             end
             if version > shown or (version == shown and not there) then
                 local step = (available - was) - (adopted - took)
                 if not there then
                     redis.call('SET', KEYS[i], string.format('%.0f', available))
                 elseif step ~= 0 then
                     local done = redis.pcall('INCRBY', KEYS[i], string.format('%.0f', step))
                     if type(done) == 'table' then
                         redis.call('SET', KEYS[i], string.format('%.0f', available))
                     end
                 end
                 redis.call('HSET', KEYS[1], product,
                     string.format('%.0f:%.0f:%.0f', version, available, adopted))
             end
         end",
    )
});

fn with_numbers(script: &str) -> Script {
    Script::new(&[IS_NUMBER, script].concat())
}

/// The stock projection in one Redis.
pub struct RedisStockProjection(Arc<RedisLink>);

impl RedisStockProjection {
    /// A projection on `link`.
    #[must_use]
    pub fn new(link: Arc<RedisLink>) -> Self {
        Self(link)
    }
}

impl StockProjection for RedisStockProjection {
    fn have<'a>(&'a self, products: &'a [&str]) -> BoxFuture<'a, Result<Vec<bool>>> {
        async move {
            let mut get = redis::cmd("MGET");
            for product in products {
                get.arg(key(product));
            }
            let numbers: Vec<Option<String>> = self.0.ask(&get).await?;
            let is_number = |text: &String| read_number(text).is_some();
            Ok(numbers.iter().map(|number| number.as_ref().is_some_and(is_number)).collect())
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        levels: &'a [ProjectedStock],
    ) -> BoxFuture<'a, Result<Vec<Option<StockReading>>>> {
        async move {
            if levels.is_empty() {
                return Ok(Vec::new());
            }
            let mut read = READ.prepare_invoke();
            read.key(SHOWN);
            for level in levels {
                let product = level.product.as_str();
                read.key(key(product)).arg(product).arg(written(level));
            }
            let seen: Vec<Vec<String>> = self.0.run(&read).await?;
            Ok(seen.iter().map(|seen| read_reading(seen)).collect())
        }
        .boxed()
    }

    fn write<'a>(&'a self, levels: &'a [ProjectedStock]) -> BoxFuture<'a, Result<()>> {
        async move {
            let mut show = SHOW.prepare_invoke();
            show.key(SHOWN);
            for level in levels {
                show.key(key(level.product.as_str()))
                    .arg(level.product.as_str())
                    .arg(level.version)
                    .arg(level.available)
                    .arg(level.external_adjustment);
            }
            self.0.run(&show).await
        }
        .boxed()
    }
}

fn key(product: &str) -> String {
    format!("product:{product}:stock")
}

/// A field of the hash of written stock.
fn written(level: &ProjectedStock) -> String {
    format!("{}:{}:{}", level.version, level.available, level.external_adjustment)
}

/// Parses an integer by the rule of the scripts.
fn read_number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number| (-NUMBER_MAX..=NUMBER_MAX).contains(number))
}

/// Parses a key's number and what was last written. `None` if there is no number.
fn read_reading(seen: &[String]) -> Option<StockReading> {
    let [number, shown] = seen else { return None };
    let mut parts = shown.splitn(3, ':').skip(1).map(|part| part.parse().ok());
    let (shown, adopted) = (parts.next()??, parts.next()??);
    Some(StockReading { value: read_number(number)?, written: shown, external_adjustment: adopted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::ProductId;

    #[test]
    fn a_written_field_is_parsed_again() {
        let product = ProductId::parse("1").unwrap();
        let level = ProjectedStock { product, version: 7, available: 98, external_adjustment: -2 };
        let seen = |number: &str, shown: &str| read_reading(&[number.to_owned(), shown.to_owned()]);
        let expected = StockReading { value: 90, written: 98, external_adjustment: -2 };
        assert_eq!(seen("90", &written(&level)), Some(expected));
        assert_eq!(expected.delta(&level), -8);
        for bad in ["", "7", "7:98", "a:b:c", "7:98:"] {
            assert_eq!(seen("90", bad), None, "{bad:?}");
        }
        assert_eq!(read_reading(&[]), None);
        assert_eq!(seen("9007199254740992", "7:98:0"), None, "no longer counted exactly");
        assert!(IS_NUMBER.contains(&format!("<= {NUMBER_MAX}\n")));
    }
}
