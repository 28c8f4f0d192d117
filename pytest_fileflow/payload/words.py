"""The words that texts, names and cities of made-up rows are taken from: the project's own, so that they never change.

A library of such data changes its words from one release to the next, and a run's bytes would change with them.
"""

from __future__ import annotations

CHARSETS = ("ascii", "latin", "cyrillic", "cjk", "emoji")
LATIN_1 = frozenset({"ascii", "latin"})  # the charsets of which every word can be written in latin-1 and cp1252

WORDS = {
    "ascii": "monthly settlement of the account refund standing order invoice fee correction booking payment rent "
    "salary deposit interest reminder final quarterly balance transfer reference customer order",
    "latin": "Überweisung für März Gebühr Rückzahlung über Größe paiement reçu déjà réglé à l'échéance señor año "
    "operación crédito påminnelse förfallen avgift størrelse gebühr façade naïve coração não município",
    "cyrillic": "оплата по счёту договор возврат комиссия перевод остаток март платёж клиент заказ сумма "
    "повторное напоминание зарплата аренда",
    "cjk": "月次決済 返金 請求書 手数料 残高 振込 注文 顧客 付款 发票 退款 余额 订单 客户 합계 주문 입금 환불",
    "emoji": "paid 💶 refund 🔁 urgent ❗ family 👨‍👩‍👧 flag 🇪🇺 thumbs 👍🏽 chart 📈 ok ✅ late ⏰ mail ✉️",
}
NAMES = {
    "ascii": ("Ann Miller", "Bob O'Hara", "Carol Smith-Jones", "David Lee", "Eve Adams", "Frank van Dyk", "Grace Hall"),
    "latin": (
        *("Jürgen Groß", "Zoë Brontë", "François Lefèvre", "María Núñez", "Søren Kjær", "Åsa Öberg", "Siân Ó Briain"),
        *("João Conceição", "Þóra Jónsdóttir", "Ann Miller", "Renée D'Été", "Jaú Añez", "Käthe Müller-Lüdenscheidt"),
    ),
    "cyrillic": ("Анна Кузнецова", "Пётр Щербаков", "Юлія Ґалаґан", "Ђорђе Љубић", "Игорь Соловьёв"),
    "cjk": ("山田太郎", "佐藤 花子", "王小明", "李娜", "김민준", "박서연"),
    "emoji": ("Ann 🌻 Miller", "Bob 🚀", "Zoë 🧑‍💻", "Eve 👩🏾‍🚀 Adams"),
}
CITIES = {
    "ascii": ("London", "Berlin", "Stratford-upon-Avon", "New York", "Madrid", "Oslo", "St. Ives"),
    "latin": (
        *("München", "Köln", "Zürich", "Málaga", "A Coruña", "São Paulo", "Århus", "Malmö", "Besançon"),
        *("Reykjavík", "L'Haÿ-les-Roses", "Düsseldorf", "London", "Växjö"),
    ),
    "cyrillic": ("Москва", "Київ", "Санкт-Петербург", "Београд", "Йошкар-Ола"),
    "cjk": ("東京", "大阪市", "北京", "上海", "서울", "부산"),
    "emoji": ("Paris 🗼", "Nice 🏖️", "Bern 🐻", "Cork 🍀"),
}
