//! What the engine asks and shows outside the database, as the settings say.

use std::sync::Arc;

use secrecy::ExposeSecret as _;

use crate::app::{OpenDoor, upstream};
use crate::config::Settings;
use crate::engine::ports::{OrderCache, Ports, StockKeys};
use crate::error::{Error, ErrorKind, Result};
use crate::transport::redis::stock_keys::RedisStockKeys;
use crate::transport::redis::{RedisCache, RedisLink};

/// What an engine may do without, as far as settings name it.
///
/// # Errors
/// `Misconfigured` when an address cannot be used.
pub(super) fn ports(doors: &[OpenDoor], settings: &Settings) -> Result<Ports> {
    let upstream = &settings.upstream;
    let cache = settings.redis.as_ref().filter(|redis| !redis.cache_age_max.is_zero());
    let orders = cache.map(|redis| {
        let link = RedisLink::new(redis.url.expose_secret(), redis.timeout)?;
        let cache = RedisCache::new(Arc::new(link), redis.cache_age_max);
        Ok(Arc::new(cache) as Arc<dyn OrderCache>)
    });
    Ok(Ports {
        users: upstream::users(upstream)?,
        products: upstream::products(upstream)?,
        orders: orders.transpose()?,
        stock_keys: stock_keys(doors, settings)?,
    })
}

/// Where stock is shown to others, if a contract wants it.
fn stock_keys(doors: &[OpenDoor], settings: &Settings) -> Result<Option<Arc<dyn StockKeys>>> {
    if !doors.iter().any(|door| door.contract.keeps_stock_keys()) {
        return Ok(None);
    }
    let redis = settings.redis.as_ref().ok_or_else(|| {
        let text = "redis_url is not set, and other services are to see stock there. Set \
                    REDIS_URL, or REDIS_HOST and REDIS_PORT.";
        Error::new(ErrorKind::Misconfigured, text).with("problems", text)
    })?;
    let link = RedisLink::new(redis.url.expose_secret(), redis.timeout)?;
    Ok(Some(Arc::new(RedisStockKeys::new(Arc::new(link)))))
}
