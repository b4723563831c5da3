//! The services, caches and projections that an engine uses beside the database.

use std::sync::Arc;

use crate::app::enabled_contracts::ContractApi;
use crate::app::options;
use crate::config::Settings;
use crate::engine::ports::{OrderCache, Ports, StockProjection, UserProjection};
use crate::error::Result;
use crate::transport::redis::RedisCache;
use crate::transport::redis::stock_projection::RedisStockProjection;
use crate::transport::redis::user_projection::RedisUserProjection;

/// The ports that the settings name.
///
/// # Errors
/// `Misconfigured` when a URL cannot be parsed, or a contract needs Redis and none is set.
pub(super) fn ports(apis: &[ContractApi], settings: &Settings) -> Result<Ports> {
    Ok(Ports {
        users: options::users(&settings.upstream)?,
        products: options::products(&settings.upstream)?,
        orders: order_cache(settings)?,
        stock_projection: stock_projection(apis, settings)?,
        user_projection: user_projection(apis, settings)?,
    })
}

fn order_cache(settings: &Settings) -> Result<Option<Arc<dyn OrderCache>>> {
    let age_max = settings.redis.cache_max_age_seconds;
    if age_max.is_zero() {
        return Ok(None);
    }
    let link = options::redis(&settings.redis)?;
    let cache = link.map(|link| RedisCache::new(Arc::new(link), age_max));
    Ok(cache.map(|cache| Arc::new(cache) as Arc<dyn OrderCache>))
}

fn stock_projection(
    apis: &[ContractApi],
    settings: &Settings,
) -> Result<Option<Arc<dyn StockProjection>>> {
    if !apis.iter().any(|api| api.contract().keeps_stock_keys()) {
        return Ok(None);
    }
    let link = Arc::new(options::required_redis(&settings.redis)?);
    Ok(Some(Arc::new(RedisStockProjection::new(link))))
}

fn user_projection(
    apis: &[ContractApi],
    settings: &Settings,
) -> Result<Option<Arc<dyn UserProjection>>> {
    if !apis.iter().any(|api| api.contract().keeps_user_keys()) {
        return Ok(None);
    }
    let link = Arc::new(options::required_redis(&settings.redis)?);
    Ok(Some(Arc::new(RedisUserProjection::new(link))))
}
