"""`make chaos`: injects random faults around the whole service and checks what it promises."""
