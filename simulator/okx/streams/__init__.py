"""OKX's simulated WebSockets: /ws/v5/public and /ws/v5/business."""
