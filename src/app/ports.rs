//! What the engine asks and shows outside the database, as the settings say.

use std::sync::Arc;

use secrecy::ExposeSecret as _;

use crate::app::{OpenDoor, upstream};
use crate::config::Settings;
use crate::engine::ports::{OrderCache, Ports, StockProjection, UserProjection};
use crate::error::{Error, ErrorKind, Result};
use crate::transport::redis::stock_projection::RedisStockProjection;
use crate::transport::redis::user_projection::RedisUserProjection;
use crate::transport::redis::{RedisCache, RedisLink};

/// What an engine may do without, as far as settings name it.
///
/// # Errors
/// `Misconfigured` when an address cannot be used.
pub(super) fn ports(doors: &[OpenDoor], settings: &Settings) -> Result<Ports> {
    let upstream = &settings.upstream;
    let cache = settings.redis.as_ref().filter(|redis| !redis.cache_age_max.is_zero());
    let orders = cache.map(|redis| {
        let link =
            RedisLink::new(redis.url.expose_secret(), redis.ca_file.as_deref(), redis.timeout)?;
        let cache = RedisCache::new(Arc::new(link), redis.cache_age_max);
        Ok(Arc::new(cache) as Arc<dyn OrderCache>)
    });
    Ok(Ports {
        users: upstream::users(upstream)?,
        products: upstream::products(upstream)?,
        orders: orders.transpose()?,
        stock_projection: stock_projection(doors, settings)?,
        user_projection: user_projection(doors, settings)?,
    })
}

/// Where stock is shown to others, if a contract wants it.
fn stock_projection(
    doors: &[OpenDoor],
    settings: &Settings,
) -> Result<Option<Arc<dyn StockProjection>>> {
    let is_wanted = doors.iter().any(|door| door.contract.keeps_stock_keys());
    let link = is_wanted.then(|| link(settings)).transpose()?;
    Ok(link.map(|link| Arc::new(RedisStockProjection::new(link)) as Arc<dyn StockProjection>))
}

/// Where users are shown to others, if a contract wants it.
fn user_projection(
    doors: &[OpenDoor],
    settings: &Settings,
) -> Result<Option<Arc<dyn UserProjection>>> {
    let is_wanted = doors.iter().any(|door| door.contract.keeps_user_keys());
    let link = is_wanted.then(|| link(settings)).transpose()?;
    Ok(link.map(|link| Arc::new(RedisUserProjection::new(link)) as Arc<dyn UserProjection>))
}

/// A link to the Redis that other services look into.
fn link(settings: &Settings) -> Result<Arc<RedisLink>> {
    let redis = settings.redis.as_ref().ok_or_else(|| {
        let text = "redis_url is not set, and other services are to see stock and users there. Set \
                    REDIS_URL, or REDIS_HOST and REDIS_PORT.";
        Error::new(ErrorKind::Misconfigured, text).with("problems", text)
    })?;
    Ok(Arc::new(RedisLink::new(
        redis.url.expose_secret(),
        redis.ca_file.as_deref(),
        redis.timeout,
    )?))
}
