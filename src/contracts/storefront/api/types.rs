//! The types of responses.

use async_graphql::{ID, Object};

use crate::contracts::moment::moment;
use crate::contracts::storefront::wire::{StorefrontFloat, float};
use crate::domain::ids::OrderName;
use crate::domain::order::{Order, OrderLine};

/// An order.
pub struct StorefrontOrder(pub(super) Order);

/// An order.
#[Object(name = "Order")]
impl StorefrontOrder {
    /// 24 hex digits that sort by the time of placing.
    #[graphql(name = "_id")]
    async fn id(&self) -> ID {
        ID(OrderName::long(self.0.id, self.0.created_at))
    }

    /// The user who placed the order.
    async fn user_id(&self) -> ID {
        ID(self.0.user.to_string())
    }

    /// The lines, in the order of the request.
    async fn products(&self) -> Vec<StorefrontProduct<'_>> {
        self.0.lines.iter().map(StorefrontProduct).collect()
    }

    /// pending, confirmed, shipped, delivered, cancelled or returned.
    async fn status(&self) -> &'static str {
        self.0.status.as_str()
    }

    /// The total price.
    async fn total_amount(&self) -> StorefrontFloat {
        float(self.0.total)
    }

    async fn created_at(&self) -> String {
        moment(self.0.created_at)
    }

    async fn updated_at(&self) -> String {
        moment(self.0.updated_at)
    }
}

/// A line of an order.
pub struct StorefrontProduct<'a>(&'a OrderLine);

/// A line of an order. Lines never change.
#[Object(name = "OrderProduct")]
impl StorefrontProduct<'_> {
    async fn product_id(&self) -> ID {
        ID(self.0.product.to_string())
    }

    async fn quantity(&self) -> u32 {
        self.0.quantity
    }

    /// The price per unit when the order was placed.
    async fn price_at_purchase(&self) -> StorefrontFloat {
        float(self.0.unit_price)
    }
}
