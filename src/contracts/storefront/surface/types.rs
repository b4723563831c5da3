//! What the operations answer with.

use async_graphql::{ID, Object};

use crate::contracts::moment::moment;
use crate::contracts::storefront::wire::{Float, float};
use crate::domain::ids::OrderName;
use crate::domain::order::{Order, OrderLine};

/// An order.
pub struct OrderView(pub(super) Order);

/// An order.
#[Object(name = "Order")]
impl OrderView {
    /// 24 hex digits, which sort by the time of placing.
    #[graphql(name = "_id")]
    async fn id(&self) -> ID {
        ID(OrderName::long(self.0.id, self.0.created_at))
    }

    /// Whose order it is.
    async fn user_id(&self) -> ID {
        ID(self.0.user.to_string())
    }

    /// What was ordered, in the order of the request.
    async fn products(&self) -> Vec<ProductView<'_>> {
        self.0.lines.iter().map(ProductView).collect()
    }

    /// pending, confirmed, shipped, delivered, cancelled or returned.
    async fn status(&self) -> &'static str {
        self.0.status.as_str()
    }

    /// The sum of the products.
    async fn total_amount(&self) -> Float {
        float(self.0.total)
    }

    async fn created_at(&self) -> String {
        moment(self.0.created_at)
    }

    async fn updated_at(&self) -> String {
        moment(self.0.updated_at)
    }
}

/// A product of an order.
pub struct ProductView<'a>(&'a OrderLine);

/// A product of an order. It never changes.
#[Object(name = "OrderProduct")]
impl ProductView<'_> {
    async fn product_id(&self) -> ID {
        ID(self.0.product.to_string())
    }

    async fn quantity(&self) -> u32 {
        self.0.quantity
    }

    /// The price of one when the order was placed.
    async fn price_at_purchase(&self) -> Float {
        float(self.0.unit_price)
    }
}
