import sys, time, importlib, logging, traceback
mod = importlib.import_module(sys.argv[1])
logging.disable(logging.CRITICAL)
for name, fn in list(vars(mod).items()):
    if not name.startswith("test_") or not callable(fn): continue
    if len(sys.argv)>2 and not any(a in name for a in sys.argv[2:]): continue
    marks = getattr(fn, "pytestmark", [])
    if marks or fn.__code__.co_argcount: continue
    t=time.perf_counter()
    try: fn(); print("ok  ", name, round(time.perf_counter()-t,3))
    except BaseException as e:
        print("FAIL", name, repr(e)[:300]); tb=traceback.format_exc().splitlines(); print("\n".join(tb[-8:]))
