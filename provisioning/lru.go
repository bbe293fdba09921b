package provisioning

import "container/list"

// lru is a map that forgets what was not used for longest. It is not safe for concurrent use.
type lru[K comparable, V any] struct {
	limit int
	order *list.List // front: used last
	items map[K]*list.Element
}

type lruItem[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	return &lru[K, V]{limit: limit, order: list.New(), items: make(map[K]*list.Element)}
}

func (l *lru[K, V]) get(k K) (V, bool) {
	e, ok := l.items[k]
	if !ok {
		var none V
		return none, false
	}
	l.order.MoveToFront(e)
	return e.Value.(*lruItem[K, V]).value, true
}

func (l *lru[K, V]) put(k K, v V) {
	if e, ok := l.items[k]; ok {
		e.Value.(*lruItem[K, V]).value = v
		l.order.MoveToFront(e)
		return
	}
	l.items[k] = l.order.PushFront(&lruItem[K, V]{k, v})
	if l.order.Len() > l.limit {
		oldest := l.order.Back()
		l.order.Remove(oldest)
		delete(l.items, oldest.Value.(*lruItem[K, V]).key)
	}
}

// newestFirst lists the values, the one used last first.
func (l *lru[K, V]) newestFirst() []V {
	values := make([]V, 0, l.order.Len())
	for e := l.order.Front(); e != nil; e = e.Next() {
		values = append(values, e.Value.(*lruItem[K, V]).value)
	}
	return values
}
